using Npgsql;
using TokenService;
using TokenService.Commands;

try
{
    return args switch
    {
        ["migrate"] => await MigrateCommand.RunAsync(Console.Out),
        ["secret", "new"] => SecretCommand.New(Console.Out),
        ["secret", "hash"] => SecretCommand.Hash(Console.In, Console.Out, Console.Error),
        ["demo-client"] => await DemoClientCommand.RunAsync(Console.Out),
        [] or [['-', '-', not 'h', ..], ..] => await Server.ServeAsync(args),
        _ => Usage.Print(Console.Error),
    };
}
catch (StartRefusedException e)
{
    await Console.Error.WriteLineAsync(e.Message);
    return 1;
}
catch (NpgsqlException e)
{
    await Console.Error.WriteLineAsync($"The database does not do what it was asked: {e.Message}");
    return 1;
}
