import Foundation

/// How far a long piece of work is: one line that is written anew on a terminal, plain lines elsewhere.
struct ProgressLine {
    private let isTerminal = isatty(STDERR_FILENO) != 0
    private var lastWritten = -Double.infinity
    private var isOpen = false

    /// Shows a line, unless the last one is too young: a tenth of a second on a terminal, ten seconds elsewhere.
    ///
    /// - Parameters:
    ///   - share: How much is done, from 0 to 1.
    ///   - text: What to say beside the bar.
    ///   - isDue: Whether the line matters even if the last one is young.
    mutating func show(share: Double, text: @autoclosure () -> String, isDue: Bool = false) {
        let now = ProcessInfo.processInfo.systemUptime
        guard isDue || now - lastWritten >= (isTerminal ? 0.1 : 10) else { return }
        lastWritten = now
        if isTerminal {
            isOpen = true
            StandardError.write(
                "\r\u{1B}[2K\(fitted("\(Self.bar(share, width: 24)) \(Self.percent(share)) \(text())"))")
        } else {
            StandardError.write("\(Self.percent(share)) \(text())\n")
        }
    }

    /// Ends the line that is being written anew, so that others may follow.
    mutating func close() {
        if isOpen { StandardError.write("\n") }
        isOpen = false
    }

    /// A line that wrapped could not be written anew.
    private func fitted(_ line: String) -> String { String(line.prefix(terminalWidth(of: STDERR_FILENO) - 1)) }

    private static func percent(_ share: Double) -> String {
        let number = String(Int(min(max(share, 0), 1) * 100))
        return String(repeating: " ", count: 3 - number.count) + number + " %"
    }

    static func bar(_ share: Double, width: Int) -> String {
        let eighths = Int((min(max(share, 0), 1) * Double(8 * width)).rounded(.down))
        let parts: [Character] = [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        var bar = String(repeating: "█", count: eighths / 8)
        if bar.count < width { bar.append(parts[eighths % 8]) }
        return "▕" + bar + String(repeating: " ", count: width - bar.count) + "▏"
    }

    /// Returns a time as `1:02:03`, `2:03` or `3 s`.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e9 else { return "–" }
        let whole = Int(max(0, seconds).rounded())
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        if whole >= 3600 { return "\(whole / 3600):\(two(whole / 60 % 60)):\(two(whole % 60))" }
        return whole >= 60 ? "\(whole / 60):\(two(whole % 60))" : "\(whole) s"
    }
}
