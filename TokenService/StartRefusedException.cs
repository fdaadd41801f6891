namespace TokenService;

/// <summary>
/// The server, or a command, refuses to run in the world it finds: a setting, the database or a library is not as it must
/// be. The message says what to do and is all the operator sees; anything else that is thrown is a bug and keeps its trace.
/// </summary>
internal sealed class OperatorException(string message, Exception? cause = null) : Exception(message, cause);
