namespace TokenService.Configuration;

/// <summary>
/// The server, or a command, refuses to run because a setting, the database or a library is wrong. The operator sees
/// the message alone, so it says what to do. Any other exception is a bug and keeps its stack trace.
/// </summary>
internal sealed class OperatorException(string message, Exception? cause = null) : Exception(message, cause);
