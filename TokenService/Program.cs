using Microsoft.Extensions.Options;
using Npgsql;
using TokenService;
using TokenService.Commands;
using TokenService.Configuration;

try
{
    return args switch
    {
        ["migrate"] => await MigrateCommand.RunAsync(Console.Out),
        ["secret", "new"] => SecretCommand.New(Console.Out),
        ["secret", "hash"] => SecretCommand.Hash(Console.In, Console.Out, Console.Error),
        ["secret", "check"] => await SecretCheckCommand.RunAsync(null, Console.In, Console.Out),
        ["secret", "check", var client] => await SecretCheckCommand.RunAsync(client, Console.In, Console.Out),
        ["client-key", "new", .. var options] => ClientKeyCommand.New(options, Console.Out, Console.Error),
        ["keys", "list"] => await KeysCommand.ListAsync(Console.Out),
        ["keys", "rotate"] => await KeysCommand.RotateAsync(Console.Out),
        ["keys", "reseal"] => await KeysCommand.ResealAsync(Console.Out),
        ["import", .. var options] => await ImportCommand.RunAsync(options, Console.Out, Console.Error),
        ["demo-client"] => await DemoClientCommand.RunAsync(Console.Out),
        ["--help"] => Usage.Print(Console.Out, isHelp: true),
        [] or [['-', '-', ..], ..] => await Server.ServeAsync(args),
        _ => Usage.Print(Console.Error),
    };
}
catch (Exception e) when (e is OperatorException or OptionsValidationException or NpgsqlException)
{
    await Console.Error.WriteLineAsync(e.Message);
    return 1;
}
