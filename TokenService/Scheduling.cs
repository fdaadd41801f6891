using System.Runtime.InteropServices;

namespace TokenService;

/// <summary>How Linux divides a core among the threads of this process.</summary>
internal static partial class Scheduling
{
    private const int Other = 0; // SCHED_OTHER, the policy of a process for which nobody chose one
    private const int Batch = 3; // SCHED_BATCH

    /// <summary>
    /// Asks that a thread which wakes up does not interrupt the one that runs (sched(7), SCHED_BATCH). Otherwise, on a
    /// busy core, each packet that arrives interrupts the request that is being answered, for as long as it takes to
    /// queue the packet: about a sixth of the processor time of all. Threads that start later inherit the policy, and
    /// the priority stays the same. A policy that the operator chose is kept, and so is the usual one where the system
    /// allows no other.
    /// </summary>
    public static void PreferBatch()
    {
        var priority = 0; // the only member of sched_param; this policy has no other value
        if (OperatingSystem.IsLinux() && sched_getscheduler(0) == Other)
            _ = sched_setscheduler(0, Batch, in priority);
    }

    [LibraryImport("libc")]
    private static partial int sched_getscheduler(int process);

    [LibraryImport("libc")]
    private static partial int sched_setscheduler(int process, int policy, in int priority);
}
