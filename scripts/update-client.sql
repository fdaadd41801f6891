-- Changes the properties of a client that are passed, and leaves the rest.
--
--   psql -v client_id=billing -v token_lifetime='15 minutes' -v extra_claims='{"tenant": "north"}' -f scripts/update-client.sql
--
--   client_id       the client
--   name            what people call it
--   token_lifetime  how long its tokens live, from '1 minute' to '1 day'; 'default': as the server is set
--   methods         client_secret_basic, client_secret_post, private_key_jwt or several of them, separated by spaces
--   tokens_per_minute   how many tokens each replica issues to it in a minute, from 1 to 1000000; 0: any number
--   extra_claims    a JSON object of claims for its tokens, at most 1024 bytes and 16 levels; '{}' removes them

\set ON_ERROR_STOP on
\set QUIET on
\set SHOW_CONTEXT never

\set example 'psql -v client_id=billing -v token_lifetime=''15 minutes'' -v extra_claims=''{"tenant": "north"}'' -f scripts/update-client.sql'
\if :{?client_id} \else \set missing client_id \ir include/missing.psql \endif

-- A variable that was not passed becomes null, one that was becomes an SQL literal.
\if :{?name} \set name :'name' \else \set name null \endif
\if :{?token_lifetime} \set token_lifetime :'token_lifetime' \else \set token_lifetime null \endif
\if :{?methods} \set methods :'methods' \else \set methods null \endif
\if :{?tokens_per_minute} \set tokens_per_minute :'tokens_per_minute' \else \set tokens_per_minute null \endif
\if :{?extra_claims} \set extra_claims :'extra_claims' \else \set extra_claims null \endif

begin;

select token_service.update_client(
    p_client_id         => :'client_id',
    p_name              => :name,
    p_token_lifetime    => case :token_lifetime when 'default' then '0' else :token_lifetime end::interval,
    p_methods           => string_to_array(:methods, ' '),
    p_extra_claims      => :extra_claims,
    p_tokens_per_minute => :tokens_per_minute) \g /dev/null

commit;

\ir include/client.psql
