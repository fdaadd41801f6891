-- Makes a client with its first secret, and prints that secret once; or with its first public key, and then without a
-- secret. Without resource and scopes the client can get no token: it is for an API that introspects tokens, and
-- register-resource-server.sql lets it do that.
--
--   psql -v client_id=payroll -v name='Payroll' -v resource=https://api.example.com -v scopes='invoices:read' \
--        -v public_jwk="$(cat key.pub.jwk)" -f scripts/create-client.sql
--   psql -v client_id=billing -v name='Billing service' \
--        -v resource=https://api.example.com -v scopes='invoices:read invoices:write' \
--        -v default_scopes='invoices:read' -f scripts/create-client.sql
--
--   client_id       1 to 128 letters, digits, '.', '_' and '-'
--   imported        on: the client had this id at another server, and it may be longer and have other characters, such
--                   as ':', '/' and '@'; optional: off
--   name            what people call it
--   resource        the API's identifier, an absolute URI or a plain name; made if it is new; optional: none
--   scopes          what the client may ask for there, separated by spaces; made if they are new; optional: none
--   default_scopes  those of the scopes that a request gets when it names none; optional: none
--   methods         client_secret_basic, client_secret_post, private_key_jwt or several of them, separated by spaces;
--                   optional: client_secret_basic, or private_key_jwt if public_jwk is passed
--   public_jwk      the client's public key as a JWK, as TokenService client-key new prints it; then no secret is made;
--                   optional: the client gets a secret
--   kid, alg        of the key, as in add-key.sql; optional
--   digest, secret_id   of a secret made elsewhere; optional: the tool makes a new secret. The tool is the command
--                   in the environment variable TOKEN_SERVICE, or TokenService on the PATH

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v name=''Billing service'' -v resource=https://api.example.com -v scopes=''invoices:read invoices:write'' -v default_scopes=''invoices:read'' -f scripts/create-client.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif
\if :{?name} \else \set missing name \ir include/missing.psql \endif
\if :{?resource}
    \if :{?scopes} \else \set missing scopes \ir include/missing.psql \endif
\elif :{?scopes}
    \set missing resource \ir include/missing.psql
\else
    \set scopes ''
\endif
\if :{?default_scopes} \else \set default_scopes '' \endif
\if :{?methods}
\elif :{?public_jwk}
    \set methods private_key_jwt
\else
    \set methods client_secret_basic
\endif
\if :{?imported} \else \set imported off \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?resource} \set resource :'resource' \else \set resource null \endif
\if :{?kid} \set kid :'kid' \else \set kid null \endif
\if :{?alg} \set alg :'alg' \else \set alg null \endif

\if :{?public_jwk}
\else
    \ir include/new-secret.psql
\endif

begin;

select token_service.create_client(
    p_client_id      => :'client_id',
    p_name           => :'name',
    p_resource       => :resource,
    p_scopes         => string_to_array(nullif(:'scopes', ''), ' '),
    p_default_scopes => string_to_array(:'default_scopes', ' '),
    p_methods        => string_to_array(:'methods', ' '),
    p_imported       => :'imported') \g /dev/null

\if :{?public_jwk}
    select token_service.add_key(
        p_client_id  => :'client_id',
        p_public_jwk => token_service.read_jwk(:'public_jwk'),
        p_kid        => :kid,
        p_alg        => :alg) \g /dev/null
\else
    select token_service.add_secret(
        p_client_id => :'client_id',
        p_secret_id => nullif(:'secret_id', ''),
        p_digest    => nullif(:'digest', '')) \g /dev/null
\endif

commit;

-- The rest only shows. The secret is printed even if the table cannot be.
\set ON_ERROR_STOP off

select c.id as client_id,
       c.name,
       array_to_string(c.authentication_methods, ' ') as methods,
       cs.resource,
       string_agg(cs.scope, ' ' order by cs.scope) as scopes,
       string_agg(cs.scope, ' ' order by cs.scope) filter (where cs.is_default) as default_scopes
from token_service.client c
left join token_service.client_scope cs on cs.client_id = c.id
where c.id = :'client_id'
group by c.id, cs.resource;

\if :{?public_jwk}
    \set kid ''
    \ir include/keys.psql
\endif

\if :{?secret_line}
    \echo 'The secret, shown this once:'
    \echo :secret_line
\endif
