using System.ComponentModel.DataAnnotations;

namespace TokenService.Clients;

/// <summary>How clients are kept in memory. Section <c>Clients</c>.</summary>
internal sealed class ClientCacheOptions
{
    public const string Section = "Clients";

    /// <summary>
    /// For how long known clients are served from memory while the database does not answer, and tokens known to introspection too, up to
    /// 10 minutes, which is what signing keys may be out of touch for. Default 5 minutes; 0: refused at once.
    /// </summary>
    [Range(typeof(TimeSpan), "00:00:00", "00:10:00", ErrorMessage = "Clients:ServeWhileAway must be 00:00:00 to 00:10:00.")]
    public TimeSpan ServeWhileAway { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>How many clients are kept. More than most have; one takes one to two kilobytes. Not a setting: a test has fewer.</summary>
    internal int MaxClients { get; set; } = 20_000;

    /// <summary>How many ids that no client has are kept. One takes a tenth of a client. Not a setting, either.</summary>
    internal int MaxUnknown { get; set; } = 20_000;
}
