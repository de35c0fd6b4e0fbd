import Foundation
import Synchronization

/// Whether somebody pressed Ctrl-C, or asked the process to end: long work then ends in good order.
enum Interruption {
    private static let received = Atomic<Int32>(0)

    static var isRequested: Bool { signalNumber != 0 }
    /// The signal that asked, or 0.
    static var signalNumber: Int32 { received.load(ordering: .relaxed) }

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
                if Interruption.received.exchange(number, ordering: .relaxed) != 0 { _exit(128 + number) }
            }
        }
    }
}
