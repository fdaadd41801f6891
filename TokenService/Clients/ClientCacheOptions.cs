using System.ComponentModel.DataAnnotations;
using TokenService.Configuration;

namespace TokenService.Clients;

/// <summary>How clients are kept in memory. Section <c>Clients</c>.</summary>
internal sealed class ClientCacheOptions
{
    public const string Section = "Clients";

    /// <summary>
    /// How long known clients, and tokens known to introspection, are served from memory while the database does not
    /// answer. At most 10 minutes, because a replica without news of the signing keys stops signing then. Default 5
    /// minutes; 0: they are refused at once.
    /// </summary>
    [TimeRange("00:00:00", "00:10:00", ErrorMessage = "Clients:ServeWhileAway must be 00:00:00 to 00:10:00.")]
    public TimeSpan ServeWhileAway { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// How many clients are kept: more than most deployments have. A client takes one to two kilobytes. This is not a
    /// setting; tests lower it.
    /// </summary>
    internal int MaxClients { get; set; } = 20_000;

    /// <summary>
    /// How many ids that no client has are kept. An id takes a tenth of the memory of a client, a long one half of it. This
    /// is not a setting either.
    /// </summary>
    internal int MaxUnknown { get; set; } = 20_000;
}
