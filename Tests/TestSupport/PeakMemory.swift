internal import Foundation

/// Runs `body` and returns how many bytes more than before the process held at its peak, or `nil` if nobody knows.
///
/// For exit tests: in a process of its own, no other test's memory counts.
package func extraPeakByteCount(of body: () -> Void) -> Int? {
    #if canImport(Darwin)
        func peakByteCount() -> Int {
            var usage = rusage()
            getrusage(RUSAGE_SELF, &usage)
            return Int(usage.ru_maxrss)
        }
        let before = peakByteCount()
        body()
        return peakByteCount() - before
    #else
        // Not `getrusage`: its peak begins as that of the process which started this one, and hides all below.
        // Where the peak may not be reset, it counts what came before as well: a test may then fail, never pass in vain.
        try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
        guard let before = statusByteCount("VmRSS:") else { return nil }
        body()
        return statusByteCount("VmHWM:").map { $0 - before }
    #endif
}

/// Returns a size of the process as Linux notes it, in KiB, at `name`.
private func statusByteCount(_ name: String) -> Int? {
    let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = status?.split(separator: "\n").first { $0.hasPrefix(name) }
    return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
}
