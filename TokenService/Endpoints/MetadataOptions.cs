namespace TokenService.Endpoints;

/// <summary>Options of the metadata. Section <c>Metadata</c>.</summary>
internal sealed class MetadataOptions
{
    public const string Section = "Metadata";

    /// <summary>
    /// True: the metadata has an <c>authorization_endpoint</c>, for clients that refuse metadata without one, such as
    /// those made with the SDKs of the Model Context Protocol. It refuses every request. Default false.
    /// </summary>
    public bool AdvertiseAuthorizationEndpoint { get; set; }
}
