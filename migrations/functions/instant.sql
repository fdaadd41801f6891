-- The clock of the functions. An admin cannot pass another instant to them.

create or replace function token_service.instant() returns timestamptz
    language sql stable parallel safe
    set search_path = pg_catalog
as $$
    select now()
$$;

comment on function token_service.instant() is
    'The instant that a call of a function uses: the start of the transaction. A test that needs another one replaces '
    'this function in its own database.';

revoke all on function token_service.instant() from public;
