/// How text for a terminal is set off.
public enum TextStyle: Sendable {
    /// Not at all.
    case plain
    /// With ANSI escape sequences.
    case ansi

    func bold(_ text: String) -> String { wrapped(text, "1") }
    func dim(_ text: String) -> String { wrapped(text, "2") }
    func bar(_ text: String) -> String { wrapped(text, "36") }

    private func wrapped(_ text: String, _ code: String) -> String {
        self == .plain ? text : "\u{1B}[\(code)m\(text)\u{1B}[0m"
    }
}
