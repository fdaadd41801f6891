namespace TokenService.Tests.Harness;

/// <summary>
/// The clause a fixture or test is about. As a category it has no spaces, so that <c>--filter TestCategory=RFC6749-2.3.1b</c>
/// can name it. A letter behind the section tells several demands of one section apart.
/// </summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method, AllowMultiple = true)]
internal sealed class RfcAttribute(int number, string section) : CategoryAttribute($"RFC{number}-{section}");
