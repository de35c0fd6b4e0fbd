internal import SequenceModels

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
        if alignment != nil || !hasAttention {
            return "\(style.bold(model)): what the prediction after \"\(target.text.printable)\" (\(lineLabel) "
                + "\(target.index)) depends on, \(scope)\n"
        }
        return
            "\(style.bold(model)): what \"\(target.text.printable)\" (\(lineLabel) \(target.index)) attends to, \(scope)\n"
    }

    private var hasAttention: Bool { words.contains { $0.attention != nil } }

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
        let totalEffect = words.reduce(0) { $0 + ($1.effect ?? 0) }

        var lines = [""]
        let margin = String(repeating: " ", count: indexWidth + 3)
        lines.append(
            style.dim(
                "\(margin)\(lineLabel.padded(to: wordWidth))  "
                    + (hasAttention ? "attention" : "share of the effect").padded(to: barWidth + 8)
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
            let share =
                hasAttention
                ? word.attentionWithoutSink ?? word.attention
                : word.effect.map { totalEffect > 0 ? $0 / totalEffect : 0 }
            let bar =
                word.isSink
                ? style.dim("(sink: see below)".padded(to: barWidth)) + " " + String(repeating: " ", count: 7)
                : style.bar(Numbers.bar(share ?? 0, width: barWidth)) + " " + (share.map(Numbers.percent) ?? "      –")
            let contribution = word.contribution.map(Numbers.percent) ?? "      –"
            let effect = word.effect.map(Numbers.bits) ?? "      –"
            lines.append("\(head)  \(bar)       \(contribution)       \(effect)")
        }
        lines.append("")
        if let alignment { lines += alignment.lines(style: style) }
        lines += footer
        for note in notes { lines.append("Note: \(note)") }
        lines.append(style.dim("Layers, heads and positions count from 0."))
        return lines.joined(separator: "\n") + "\n"
    }

    /// What is said below the figures: how much the sink takes, and what comes next.
    var footer: [String] {
        var lines: [String] = []
        if let sink = words.first(where: \.isSink), let share = sink.attention {
            let rest = words.reduce(0) { $0 + ($1.isSink ? 0 : $1.attention ?? 0) }
            lines.append(
                "\"\(sink.text.printable)\" takes \(trimmed(Numbers.percent(share))) of the attention for being first "
                    + "(an attention sink);")
            lines.append("the bars share out the remaining \(trimmed(Numbers.percent(rest))).")
        }
        if !nextWords.isEmpty {
            let list = nextWords.map { "\"\($0.text.printable)\" \(trimmed(Numbers.percent($0.probability)))" }
            lines.append("Most likely after \"\(target.text.printable)\": \(list.joined(separator: ", "))")
        }
        return lines
    }

    private func trimmed(_ text: String) -> String {
        String(text.drop { $0 == " " })
    }
}

extension Explanation.Alignment {
    /// A line per token written, with the three tokens that it attends to most.
    func lines(style: TextStyle) -> [String] {
        let width = min(24, written.map { $0.printable.displayWidth }.max() ?? 0)
        let rows = zip(written, weights).map { text, weights in
            let places = weights.indicesOfLargest(3).map { "\"\(read[$0].printable)\" \(Numbers.percent(weights[$0]))" }
            return "  \(text.printable.padded(to: width))  \(places.joined(separator: ",  "))"
        }
        return [style.dim("What each token written attends to in the source, the heaviest three:")] + rows + [""]
    }
}
