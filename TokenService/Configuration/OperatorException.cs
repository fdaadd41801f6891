namespace TokenService.Configuration;

/// <summary>
/// The server, or a command, refuses to run: a setting, the database or a library is not as it must be. The message tells the
/// operator what to do, and is all that the operator sees. Any other exception is a bug and keeps its stack trace.
/// </summary>
internal sealed class OperatorException(string message, Exception? cause = null) : Exception(message, cause);
