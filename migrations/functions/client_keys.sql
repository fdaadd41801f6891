-- Keys of clients: adding, rotating and revoking them; and what tokens must be bound to.


select token_service.attach_triggers('client_key', 'client', 'client_id', array['client_id', 'kid']);
select token_service.ensure_trigger('client_key', 'client_key_usage',
    'AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION token_service.forget_usage(''key'')');
select token_service.ensure_trigger('client_key', 'client_key_usage_truncate',
    'AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION token_service.forget_usage(''key'')');
