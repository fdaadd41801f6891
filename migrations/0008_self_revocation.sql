-- A client that revokes many of its own tokens costs the list of revoked tokens one line instead of one for each token.
-- Only the server writes this table. The rows of tokens_not_before are the admins': a transaction of the server that is
-- left open cannot lock them.

create table token_service.self_revocation (
    client_id  text        not null,
    not_before timestamptz not null,

    constraint self_revocation_pkey primary key (client_id),
    constraint self_revocation_dates_representable check (token_service.is_representable(not_before))
);

comment on table token_service.self_revocation is
    'The clients that revoked so many of their tokens that all tokens up to an instant are dead, until the last of these '
    'would have expired.';
comment on column token_service.self_revocation.client_id is 'The client; it may have been deleted.';
comment on column token_service.self_revocation.not_before is 'Its tokens issued up to this instant are dead.';


create view token_service.client_not_before as
    select client_id, max(not_before) as not_before
    from (
        select client_id, not_before from token_service.tokens_not_before
        union all
        select client_id, not_before from token_service.self_revocation
    ) both_kinds
    group by client_id;

comment on view token_service.client_not_before is 'For each client whose tokens up to an instant are dead, that instant.';
comment on column token_service.client_not_before.client_id is 'The client; it may have been deleted.';
comment on column token_service.client_not_before.not_before is 'Its tokens issued up to this instant are dead.';
