extension Explanation {
    /// Returns the explanation as a picture for a terminal: a line per word with a bar and three figures, and the
    /// predictions under it.
    ///
    /// It is ``heading(style:)`` and then ``body(style:width:)``.
    ///
    /// - Parameters:
    ///   - style: Whether to use escape sequences.
    ///   - width: The terminal's columns; the bars take what is left, 12 at least.
    /// - Returns: Lines, each ended.
    public func text(style: TextStyle = .plain, width: Int = 80) -> String {
        heading(style: style) + body(style: style, width: width)
    }

    /// Returns the picture's first line: which model, target, layers and heads.
    ///
    /// It does not depend on *effect*.
    ///
    /// - Parameter style: Whether to use escape sequences.
    /// - Returns: One line, ended.
    public func heading(style: TextStyle = .plain) -> String {
        "\(style.bold(model)): what \"\(target.text.printable)\" (\(lineLabel) \(target.index)) attends to, \(scope)\n"
    }

    private var lineLabel: String { unit == "words" ? "word" : "token" }

    /// Returns the picture without its heading.
    ///
    /// - Parameters:
    ///   - style: Whether to use escape sequences.
    ///   - width: The terminal's columns; the bars take what is left, 12 at least.
    /// - Returns: Lines, each ended.
    public func body(style: TextStyle = .plain, width: Int = 80) -> String {
        let wordWidth = min(24, max(4, words.map { $0.text.printable.displayWidth }.max() ?? 4))
        let indexWidth = max(2, String(words.count - 1).count)
        let barWidth = max(12, min(32, width - indexWidth - wordWidth - 42))
        let sink = words.first { $0.isSink }

        var lines = [""]
        let margin = String(repeating: " ", count: indexWidth + 3)
        lines.append(
            style.dim(
                "\(margin)\(lineLabel.padded(to: wordWidth))  \("attention".padded(to: barWidth + 8))"
                    + "  contribution   effect/bits"))
        for (index, word) in words.enumerated() {
            let mark = index == target.index ? "▸" : " "
            let number = String(repeating: " ", count: indexWidth - String(index).count) + "\(index)"
            let name = word.text.printable.padded(to: wordWidth)
            let head = "\(mark) \(number) \(index == target.index ? style.bold(name) : name)"
            guard word.isVisible else {
                lines.append(style.dim("\(head)  comes later: a causal model does not see it"))
                continue
            }
            let share = word.attentionWithoutSink ?? word.attention
            let bar =
                word.isSink
                ? style.dim("(sink: see below)".padded(to: barWidth)) + " " + String(repeating: " ", count: 7)
                : style.bar(Numbers.bar(share, width: barWidth)) + " " + Numbers.percent(share)
            let effect = word.effect.map(Numbers.bits) ?? "      –"
            lines.append("\(head)  \(bar)       \(Numbers.percent(word.contribution))       \(effect)")
        }
        lines.append("")
        if let sink {
            let rest = words.reduce(0) { $0 + ($1.isSink ? 0 : $1.attention) }
            lines.append(
                "\"\(sink.text.printable)\" takes \(trimmed(Numbers.percent(sink.attention))) of the attention for being first "
                    + "(an attention sink);")
            lines.append("the bars share out the remaining \(trimmed(Numbers.percent(rest))).")
        }
        if !nextWords.isEmpty {
            let list = nextWords.map { "\"\($0.text.printable)\" \(trimmed(Numbers.percent($0.probability)))" }
            lines.append("Most likely after \"\(target.text.printable)\": \(list.joined(separator: ", "))")
        }
        for note in notes { lines.append("Note: \(note)") }
        lines.append(style.dim("Layers, heads and positions count from 0."))
        return lines.joined(separator: "\n") + "\n"
    }

    private func trimmed(_ text: String) -> String {
        String(text.drop { $0 == " " })
    }
}
