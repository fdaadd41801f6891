-- Every change of what is administered, through functions or by hand. Triggers record it in a chain of hashes.

create table token_service.audit_log (
    id               bigint      not null,
    at               timestamptz not null,
    user_name        text        not null,
    application_name text        not null,
    client_address   inet,
    operation        text        not null,
    table_name       text        not null,
    row_key          text,
    client_id        text,
    before           jsonb,
    after            jsonb,
    hash             bytea       not null,

    constraint audit_log_pkey primary key (id),
    constraint audit_log_operation_known check (operation in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')),
    constraint audit_log_hash_length check (octet_length(hash) = 32)
);

create index audit_log_client_id on token_service.audit_log (client_id, id);

comment on table token_service.audit_log is
    'Every change of what is administered. Triggers append to it; nothing changes a row.';
comment on column token_service.audit_log.id is '1, 2, 3 and on in the order of commits, without gaps.';
comment on column token_service.audit_log.at is 'When the change was committed.';
comment on column token_service.audit_log.user_name is 'The user who logged in, even under another role.';
comment on column token_service.audit_log.application_name is 'The name that the session gave itself.';
comment on column token_service.audit_log.client_address is
    'The address that the session came from. Null: a Unix socket.';
comment on column token_service.audit_log.operation is 'INSERT, UPDATE, DELETE or TRUNCATE.';
comment on column token_service.audit_log.table_name is 'The table that changed.';
comment on column token_service.audit_log.row_key is
    'The row''s primary key, its columns separated by spaces. Null: every row.';
comment on column token_service.audit_log.client_id is 'The client that the change concerns. Null: none, or several.';
comment on column token_service.audit_log.before is
    'An UPDATE has the columns that changed, a DELETE has all; digests and private keys are left out.';
comment on column token_service.audit_log.after is
    'An UPDATE has the columns that changed, an INSERT has all; digests and private keys are left out.';
comment on column token_service.audit_log.hash is 'SHA-256 over the hash of the row before and all else in this row.';
