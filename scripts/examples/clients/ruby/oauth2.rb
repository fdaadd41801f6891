# ruby-oauth2: prints a token.

require 'oauth2'

options = { site: ENV['ISSUER'], token_url: '/token' }
# The default is the body.
options[:auth_scheme] = ENV['METHOD'] == 'client_secret_basic' ? :basic_auth : :request_body unless ENV['METHOD'].empty?
client = OAuth2::Client.new(ENV['CLIENT_ID'], ENV['CLIENT_SECRET'], options)
puts client.client_credentials.get_token(scope: ENV['SCOPE']).token
