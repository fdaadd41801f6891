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

    /// <summary>
    /// True: the metadata has no member that is not registered, for conformance tests that count one as a defect. APIs then
    /// have to be told the address of the list of revoked tokens. Default false.
    /// </summary>
    public bool OmitUnregistered { get; set; }
}
