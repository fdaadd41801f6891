-- The typ of tokens by resource, for an API that refuses at+jwt. Set it once every replica runs this build: an older one
-- goes on writing at+jwt, and its introspection calls a token of the other type inactive.

alter table token_service.resource
    add column typ text not null default 'at+jwt';

alter table token_service.resource
    add constraint resource_typ_known check (token_service.is_access_token_typ(typ));

comment on column token_service.resource.typ is
    'The typ of tokens for it (RFC 9068 §2.1): at+jwt, or JWT for an API that refuses at+jwt.';


-- The file of functions makes it again, with two more arguments.
drop function if exists token_service.create_resource(text, text[], text, interval);
