-- A client that comes from another server keeps its id, which may have more characters than one that this server makes.
-- The file of functions makes these two again with an argument that says so. An older build leaves functions alone when
-- it finds this migration, so it does not put its narrower is_client_id back.

drop function if exists
    token_service.create_client(text, text, text, text[], text[], text[]),
    token_service.require_client_id(text);
