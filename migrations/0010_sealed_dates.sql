-- A private key is sealed together with the last instant of its key's life. Somebody who can write the table cannot give
-- an old row, as from a backup, a second life with other dates.

alter table token_service.signing_key
    add column ends_by timestamptz;

alter table token_service.signing_key
    add constraint signing_key_ends_by_representable check (token_service.is_representable(ends_by));

comment on column token_service.signing_key.ends_by is
    'The key is not published at and after this instant, and does not sign in the day before it, even if its other dates '
    'say so. The seal of the private half binds it. Null: the key was made before the column was.';
