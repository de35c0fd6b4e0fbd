internal import Attention
internal import SequenceModels

// What one word has to do with all others: the sentence with the target marked, a line to every word, and three figures
// per word.

extension Inspection {
    func wordView(_ state: ViewState) throws(InspectionError) -> RenderedView {
        let explanation = try explanation(
            target: state.target.map { .position($0) } ?? .last, options: state.options)
        let choice = WordChoice(explanation, state)
        var notes = explanation.notes
        if let hidden = choice.hiddenNote { notes.insert(hidden, at: 0) }
        return RenderedView(
            state: state, picture: WordPicture(explanation, state, choice).picture,
            table: explanation.table(of: choice.rows), caption: explanation.caption, notes: notes, data: explanation)
    }
}

/// Which words are shown, and in which order.
private struct WordChoice {
    /// What the words are, by position.
    let rows: [Int]
    /// The first word where it is a sink, and shown: it stands apart.
    let sink: Int?
    /// What the filter hides, in words; `nil` where it hides nothing.
    let hiddenNote: String?

    init(_ explanation: Explanation, _ state: ViewState) {
        let words = explanation.words
        // Words that weigh the same stay in the sentence's order.
        func sorted(_ figure: (Explanation.Word) -> Double) -> [Int] {
            words.indices.sorted { (figure(words[$1]), $0) < (figure(words[$0]), $1) }
        }
        let byAttention = sorted { $0.attention ?? 0 }
        var kept = Set(words.indices)
        var hidden = 0.0
        if state.mass < 1 {
            let total = words.reduce(0) { $0 + ($1.attention ?? 0) }
            var shown = 0.0
            kept = []
            for word in byAttention {
                if shown < state.mass * total {
                    kept.insert(word)
                    shown += words[word].attention ?? 0
                } else {
                    hidden += words[word].attention ?? 0
                }
            }
        }
        let order =
            switch state.order {
            case .sentence: Array(words.indices)
            case .attention: byAttention
            case .contribution: sorted { $0.contribution ?? 0 }
            case .effect: sorted { $0.effect ?? 0 }
            }
        rows = order.filter { kept.contains($0) }
        sink = rows.first { words[$0].isSink }
        let count = words.count - kept.count
        hiddenNote =
            count == 0
            ? nil
            : "\(count) of \(words.count) \(explanation.unit) are not shown; together they have "
                + "\(Numbers.percent(hidden).trimmingWhiteSpace) of the attention."
    }
}

extension Explanation {
    /// What the picture shows, in one sentence.
    var caption: String { heading().trimmingWhiteSpace }

    fileprivate func table(of rows: [Int]) -> Table {
        Table(
            title: caption,
            columns: [
                "position", unit == "words" ? "word" : "token", "attention/%", "attention without the sink/%",
                "contribution/%", "effect/bits",
            ],
            rows: rows.map { index in
                let word = words[index]
                func share(_ share: Double?) -> String { share.map(Numbers.percentNumber) ?? "" }
                return [
                    "\(index)", word.text, share(word.attention), share(word.attentionWithoutSink),
                    share(word.contribution), word.effect.map { Numbers.bits($0).trimmingWhiteSpace } ?? "",
                ]
            })
    }
}

/// The picture of an explanation: all widths have the same parts, which share out the room.
private struct WordPicture {
    private static let rowHeight = 30.0

    private let explanation: Explanation
    private let state: ViewState
    private let choice: WordChoice
    private(set) var picture: Picture
    /// Where lines from the target run, at the left of the words.
    private let gutter: Double
    private let wordExtent: Double
    private let figureExtent: Double
    private let largestEffect: Double

    init(_ explanation: Explanation, _ state: ViewState, _ choice: WordChoice) {
        self.explanation = explanation
        self.state = state
        self.choice = choice
        picture = Picture(width: state.width)
        let room = picture.room
        gutter = state.style == .lines ? max(44, min(120, room * 0.14)) : 8
        let longest = explanation.words.map { Picture.extent(of: $0.text.printable, size: 14) }.max() ?? 0
        wordExtent = min(longest + 34, max(88, room * 0.32))
        figureExtent = (room - gutter - wordExtent) / 3
        largestEffect = explanation.words.compactMap(\.effect).max() ?? 0

        var y = picture.caption(explanation.caption)
        y = sentence(at: y + 4)
        y = figures(at: y + 16)
        y = footer(at: y + 10)
    }

    private var label: String { explanation.unit == "words" ? "word" : "token" }

    /// Draws the sentence as it is read, each word shaded by the attention that it draws.
    private mutating func sentence(at top: Double) -> Double {
        let room = picture.room
        var (x, y) = (Picture.margin, top)
        for (index, word) in explanation.words.enumerated() {
            let text = Picture.fitted(word.text.printable, to: room - 12, size: 14)
            let extent = Picture.extent(of: text, size: 14) + 12
            if x + extent > Picture.margin + room {
                (x, y) = (Picture.margin, y + 28)
            }
            let isTarget = index == explanation.target.index
            let share = bar(word)
            let place = (x, y)
            picture.group([
                ("class", isTarget ? "chip target" : "chip"), ("data-word", "\(index)"),
            ]) { picture in
                picture.rectangle(
                    x: place.0, y: place.1, width: extent, height: 24, .panel, radius: 4,
                    outline: isTarget ? .query : nil)
                if word.isVisible && !word.isSink && share > 0 {
                    picture.rectangle(
                        x: place.0, y: place.1, width: extent, height: 24, .attention,
                        opacity: 0.08 + 0.42 * share, radius: 4)
                }
                picture.text(
                    text, x: place.0 + extent / 2, y: place.1 + 17, size: 14, word.isVisible ? .ink : .quiet,
                    anchor: .middle, isBold: isTarget, title: word.text)
            }
            x += extent + 4
        }
        return y + 24
    }

    /// The length of a word's bar: its share without the sink, on the scale that was chosen.
    private func bar(_ word: Explanation.Word) -> Double {
        let largest = explanation.words.compactMap { $0.isSink ? nil : $0.attentionWithoutSink ?? $0.attention }.max()
        return state.scale.shade(word.attentionWithoutSink ?? word.attention ?? 0, rowMaximum: largest ?? 0)
    }

    private mutating func figures(at top: Double) -> Double {
        let wordX = Picture.margin + gutter
        var y = top + 12
        picture.text(label, x: wordX + 26, y: y, size: 12, .quiet)
        let names: [(String, Picture.Role)] = [
            ("attention", .attention), ("contribution", .contribution), ("effect/bits", .effect),
        ]
        for (column, name) in names.enumerated() {
            picture.text(
                name.0, x: figureX(column) + figureExtent, y: y, size: figureExtent < 84 ? 10 : 12, name.1,
                anchor: .end)
        }
        y += 8
        let rest = choice.rows.filter { $0 != choice.sink }
        var places: [(word: Int, y: Double)] = []
        for index in rest {
            row(index, at: y)
            places.append((index, y + 15))
            y += Self.rowHeight
        }
        if state.style == .lines { lines(to: places, at: wordX) }
        if let sink = choice.sink {
            y += 8
            picture.stroke(
                "M\(Picture.number(Picture.margin)) \(Picture.number(y))H\(Picture.number(picture.width - Picture.margin))",
                .line, width: 1)
            y += 6
            row(sink, at: y)
            y += Self.rowHeight
        }
        return y
    }

    private func figureX(_ column: Int) -> Double {
        Picture.margin + gutter + wordExtent + Double(column) * figureExtent
    }

    private mutating func row(_ index: Int, at y: Double) {
        let word = explanation.words[index]
        let isTarget = index == explanation.target.index
        let wordX = Picture.margin + gutter
        let figures: [(share: Double?, value: Double?, text: String?, role: Picture.Role, name: String)] = [
            (
                word.isSink ? word.attention : bar(word), word.attentionWithoutSink ?? word.attention,
                (word.attentionWithoutSink ?? word.attention).map(Numbers.percent), .attention,
                word.isSink ? "of all attention: an attention sink" : "attention"
            ),
            (
                word.contribution, word.contribution, word.contribution.map(Numbers.percent), .contribution,
                "contribution"
            ),
            (
                word.effect.map { largestEffect > 0 ? $0 / largestEffect : 0 }, word.effect,
                word.effect.map(Numbers.bits), .effect, "bits of effect"
            ),
        ]
        let (wordExtent, figureExtent) = (wordExtent, figureExtent)
        let places = (0..<3).map(figureX)
        picture.group([
            ("class", "row"), ("data-word", "\(index)"), ("data-sink", word.isSink ? "true" : "false"),
        ]) { picture in
            if isTarget {
                picture.rectangle(
                    x: wordX - 2, y: y, width: wordExtent, height: 26, .panel, radius: 4, outline: .query)
            }
            if word.isSink { picture.text("sink", x: Picture.margin, y: y + 18, size: 12, .quiet) }
            picture.text("\(index)", x: wordX + 20, y: y + 17, size: 11, .quiet, anchor: .end)
            picture.text(
                word.text, x: wordX + 26, y: y + 18, size: 14, word.isVisible ? .ink : .quiet, isBold: isTarget,
                extent: wordExtent - 32)
            guard word.isVisible else {
                picture.text(
                    "comes later: not seen", x: places[2] + figureExtent, y: y + 18, size: 12, .quiet, anchor: .end,
                    extent: figureExtent * 3 - 8)
                return
            }
            for (x, figure) in zip(places, figures) {
                let right = x + figureExtent
                let text = (figure.text ?? "–").trimmingWhiteSpace
                picture.text(
                    text, x: right, y: y + 16, size: 12.5, figure.text == nil ? .quiet : .ink, anchor: .end,
                    value: figure.value, title: "\(word.text.printable): \(text) \(figure.name)")
                guard let share = figure.share else { continue }
                let full = figureExtent - 10
                picture.rectangle(x: right - full, y: y + 21, width: full, height: 4, .panel, radius: 2)
                picture.rectangle(
                    x: right - full, y: y + 21, width: full * min(1, max(0, share)), height: 4, figure.role,
                    opacity: figure.name.contains("sink") ? 0.45 : 1, radius: 2)
            }
        }
    }

    /// Draws an arc from the target's row to each other, the thicker and darker the more attention; to itself a loop.
    private mutating func lines(to places: [(word: Int, y: Double)], at x: Double) {
        guard let start = places.first(where: { $0.word == explanation.target.index })?.y else { return }
        let right = x - 4
        let span = max(1, (places.map { abs($0.y - start) }.max() ?? 1))
        for place in places {
            let word = explanation.words[place.word]
            guard word.isVisible, let attention = word.attentionWithoutSink ?? word.attention, attention > 0 else {
                continue
            }
            let share = bar(word)
            let reach = (gutter - 10) * (0.35 + 0.65 * abs(place.y - start) / span)
            let path =
                place.word == explanation.target.index
                ? "M\(Picture.number(right)) \(Picture.number(start - 4))"
                    + "c-22 -8 -22 16 0 8"
                : "M\(Picture.number(right)) \(Picture.number(start))"
                    + "C\(Picture.number(right - reach * 1.3)) \(Picture.number(start)) "
                    + "\(Picture.number(right - reach * 1.3)) \(Picture.number(place.y)) "
                    + "\(Picture.number(right)) \(Picture.number(place.y))"
            picture.group([("class", "arc"), ("data-word", "\(place.word)")]) { picture in
                picture.stroke(
                    path, .attention, width: 0.75 + 6 * share, opacity: 0.25 + 0.75 * share, value: attention,
                    title: "\(word.text.printable): \(Numbers.percent(attention).trimmingWhiteSpace) attention")
            }
        }
    }

    private mutating func footer(at top: Double) -> Double {
        var y = top + 12
        let room = picture.room
        func add(_ text: String, _ role: Picture.Role = .ink, to picture: inout Picture) {
            y = picture.paragraph(text, x: Picture.margin, y: y, width: room, size: 12.5, role) + 3
        }
        for line in explanation.footer { add(line, to: &picture) }
        if let hidden = choice.hiddenNote { add(hidden, to: &picture) }
        for note in explanation.notes { add("Note: \(note)", to: &picture) }
        add(state.scale.legend, .quiet, to: &picture)
        return y
    }
}

extension ViewState.Scale {
    /// The shade of a weight, from 0 to 1.
    func shade(_ weight: Double, rowMaximum: Double) -> Double {
        switch self {
        case .absolute: min(1, max(0, weight))
        case .row: rowMaximum > 0 ? min(1, max(0, weight / rowMaximum)) : 0
        case .logarithmic: weight > 0.001 ? min(1, 1 + .log(weight) / .log(1000)) : 0
        }
    }

    private static let counting = "Layers, heads and positions count from 0."

    /// What a full bar or the darkest shade stands for, and how places are numbered.
    var legend: String {
        switch self {
        case .absolute: "Attention is drawn on a scale from 0 to 100 %. \(Self.counting)"
        case .row: "Attention is drawn on a scale from 0 to the row's largest. \(Self.counting)"
        case .logarithmic: "Attention is drawn on a logarithmic scale from 0.1 to 100 %. \(Self.counting)"
        }
    }
}
