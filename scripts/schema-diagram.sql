-- Draws the schema as a Mermaid entity diagram, from the catalog of a migrated database: tables, columns, keys, and how
-- many rows may stand at either end of each foreign key.
--
--   psql -qAt -f scripts/schema-diagram.sql
--
-- migrations/README.md holds what it prints, and a test compares the two.

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

select 'erDiagram';

-- A row refers to one other row, or to none if its columns may be null. Any number of rows refer to it, or at most one
-- if those columns are unique.
select format('    %s %s--%s %s : "%s"',
           referred.relname,
           case when fk.nullable then '|o' else '||' end,
           case when fk.is_unique then 'o|' else 'o{' end,
           referring.relname,
           fk.columns)
from pg_constraint c
join pg_class referring on referring.oid = c.conrelid
join pg_class referred on referred.oid = c.confrelid
cross join lateral (
    select string_agg(a.attname, ', ' order by k.n) as columns,
           bool_or(not a.attnotnull) as nullable,
           exists (
               select from pg_index i
               where i.indrelid = c.conrelid
                 and i.indisunique
                 and i.indpred is null
                 and i.indkey::smallint[] <@ c.conkey
           ) as is_unique
    from unnest(c.conkey) with ordinality as k (number, n)
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number
) fk
where c.connamespace = 'token_service'::regnamespace
  and c.contype = 'f'
order by referred.relname collate "C", referring.relname collate "C", fk.columns collate "C";

-- Each table with its columns, and the first sentence of each column's comment. Quotation marks become apostrophes,
-- because Mermaid has no escape for them.
select format(E'\n    %s {\n%s\n    }', t.relname, string_agg(
           format('        %s',
               concat_ws(' ', kind.name, a.attname, nullif(keys.markers, ''),
                   '"' || translate(rtrim(substring(col_description(t.oid, a.attnum) from '^.*?(?:[.](?=\s)|$)'), '.'), '"', '''') || '"')),
           E'\n' order by a.attnum))
from pg_class t
join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
cross join lateral (
    -- A type is one word.
    select replace(
        replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz'), ' ', '_') as name
) kind
cross join lateral (
    select string_agg(distinct case c.contype when 'p' then 'PK' when 'f' then 'FK' else 'UK' end, ', '
               order by case c.contype when 'p' then 'PK' when 'f' then 'FK' else 'UK' end desc) as markers
    from pg_constraint c
    where c.conrelid = t.oid
      and c.contype in ('p', 'f', 'u')
      and a.attnum = any (c.conkey)
) keys
where t.relnamespace = 'token_service'::regnamespace
  and t.relkind in ('r', 'p')
group by t.oid, t.relname
order by t.relname collate "C";
