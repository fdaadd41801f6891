using System.ComponentModel.DataAnnotations;

namespace TokenService.Audit;

/// <summary>What happens when events come faster than they can be written.</summary>
internal enum WhenFull
{
    /// <summary>The request waits for room, so that no token leaves without its event having been taken.</summary>
    Wait,

    /// <summary>The event is dropped; how many were is a warning in the log and a counter.</summary>
    Drop,
}

/// <summary>Where the events of requests go. Section <c>Events</c>.</summary>
internal sealed class EventLogOptions
{
    public const string Section = "Events";

    /// <summary>A file to append to; default: empty, which is standard output.</summary>
    public string File { get; set; } = "";

    /// <summary><c>Wait</c> (the default) or <c>Drop</c>.</summary>
    public WhenFull WhenFull { get; set; } = WhenFull.Wait;

    /// <summary>Events that may wait to be written, 1024 to 1000000. Default 8192, about 3 MB.</summary>
    [Range(1024, 1_000_000, ErrorMessage = "Events:QueueLength must be 1024 to 1000000 (waiting events).")]
    public int QueueLength { get; set; } = 8192;
}
