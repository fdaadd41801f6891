-- The server's own changes wait here until an admin's next change appends them to the audit log. The server must not
-- append them itself: it would have to lock the log, and somebody with the server's password could keep that lock by
-- leaving a transaction open, so that no admin could change anything.

create table token_service.audit_pending (
    id    bigint                  not null generated always as identity,
    entry token_service.audit_log not null,

    constraint audit_pending_pkey primary key (id)
);

comment on table token_service.audit_pending is
    'Changes that the server made and that are not yet in the audit log. Triggers insert them.';
comment on column token_service.audit_pending.id is 'The order in which they are appended.';
comment on column token_service.audit_pending.entry is 'The future row of audit_log, without its id and hash.';
