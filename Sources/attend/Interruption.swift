import Foundation
import Synchronization

/// Whether somebody pressed Ctrl-C, or asked the process to end: long work then ends in good order.
enum Interruption {
    private static let wasRequested = Atomic(false)

    static var isRequested: Bool { wasRequested.load(ordering: .relaxed) }

    /// Begins to take notice; a second request ends the process at once.
    static func watch() {
        // Whoever started the process may have left them blocked.
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGINT, SIGTERM] { sigaddset(&set, number) }
        pthread_sigmask(SIG_UNBLOCK, &set, nil)
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                // Only what a signal handler may do: no memory is taken, no lock held.
                if Interruption.wasRequested.exchange(true, ordering: .relaxed) { _exit(128 + number) }
            }
        }
    }
}
