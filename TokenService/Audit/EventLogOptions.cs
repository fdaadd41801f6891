using System.ComponentModel.DataAnnotations;

namespace TokenService.Audit;

/// <summary>How a request proceeds when the event queue is full, or when events cannot be written.</summary>
internal enum WhenFull
{
    /// <summary>
    /// The request waits for room in the queue, so that no token is sent before its event is queued. While events
    /// cannot be written, nothing is granted.
    /// </summary>
    Wait,

    /// <summary>The event is lost. A counter and the log tell how many were.</summary>
    Drop,
}

/// <summary>Options of the event log. Section <c>Events</c>.</summary>
internal sealed class EventLogOptions
{
    public const string Section = "Events";

    /// <summary>The file to append events to. Default: empty, which means standard output.</summary>
    public string File { get; set; } = "";

    /// <summary><c>Wait</c> (the default) or <c>Drop</c>.</summary>
    public WhenFull WhenFull { get; set; } = WhenFull.Wait;

    /// <summary>How many events may wait to be written, 1024 to 1000000. Default 8192, about 3 MB.</summary>
    [Range(1024, 1_000_000, ErrorMessage = "Events:QueueLength must be 1024 to 1000000 (waiting events).")]
    public int QueueLength { get; set; } = 8192;
}
