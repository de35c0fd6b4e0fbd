internal import Attention

/// A picture in the making: marks and text on a ground of a given width, which grows downwards.
///
/// Colours are roles, not values, so that one style sheet makes a picture light or dark. Coordinates are written with two
/// decimals, and one that is not finite stops the program: it would be a mistake of the view that draws.
struct Picture {
    /// What a mark stands for.
    enum Role: String, CaseIterable {
        case ink, quiet, line, ground, panel
        case query, key, value, attention, contribution, effect

        /// The colours on light and on dark.
        ///
        /// Text has a contrast of 4.5:1 and more on both grounds. The hues are those of Okabe and
        /// Ito, darkened or lightened, which colour-blind readers tell apart; no hue is the only sign of what it says.
        fileprivate var colors: (light: String, dark: String) {
            switch self {
            case .ink: ("#1b1b1f", "#ececf1")
            case .quiet: ("#5b5b66", "#a9a9b6")
            case .line: ("#c9c9d2", "#45454f")
            case .ground: ("#ffffff", "#17171b")
            case .panel: ("#f2f2f6", "#24242b")
            case .query: ("#0063a6", "#6cb8ee")
            case .key: ("#b34700", "#ff9a5c")
            case .value: ("#00724f", "#3ecfa3")
            case .attention: ("#6b3fa0", "#bd9df0")
            case .contribution: ("#00724f", "#3ecfa3")
            case .effect: ("#a3336f", "#f08cc0")
            }
        }
    }

    enum Anchor: String { case start, middle, end }

    /// What stays free at either side.
    static let margin = 12.0
    /// How wide what stands between the margins is.
    var room: Double { width - 2 * Self.margin }

    let width: Double
    private(set) var height = 0.0
    private var body = ""

    init(width: Int) {
        self.width = Double(width)
    }

    // MARK: - Marks

    /// Adds a rectangle; one with a title says it where the pointer rests, and carries its number.
    mutating func rectangle(
        x: Double, y: Double, width: Double, height: Double, _ role: Role, opacity: Double = 1, radius: Double = 0,
        outline: Role? = nil, value: Double? = nil, title: String? = nil
    ) {
        var text = "<rect x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" width=\"\(Self.number(max(0, width)))\" "
        text += "height=\"\(Self.number(max(0, height)))\" class=\"\(role.rawValue)"
        text += outline.map { " outline-\($0.rawValue)" } ?? ""
        text += "\""
        if opacity < 1 { text += " fill-opacity=\"\(Self.number(max(0, opacity)))\"" }
        if radius > 0 { text += " rx=\"\(Self.number(radius))\"" }
        add(text, value: value, title: title, tag: "rect")
        grow(to: y + height)
    }

    /// Adds text whose baseline is at `y`; turned text runs upwards, steeply, as over a narrow column.
    ///
    /// Where it is longer than its extent, it is cut with an ellipsis, and its title has all of it.
    mutating func text(
        _ string: String, x: Double, y: Double, size: Double = 13, _ role: Role = .ink, anchor: Anchor = .start,
        isBold: Bool = false, isTurned: Bool = false, extent: Double? = nil, value: Double? = nil,
        title: String? = nil
    ) {
        let shown = string.printable
        let fitted = extent.map { Self.fitted(shown, to: $0, size: size) } ?? shown
        var text = "<text x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" font-size=\"\(Self.number(size))\" "
        text += "class=\"\(role.rawValue)\(isBold ? " bold" : "")\""
        if isTurned { text += " transform=\"rotate(-60 \(Self.number(x)) \(Self.number(y)))\"" }
        if anchor != .start { text += " text-anchor=\"\(anchor.rawValue)\"" }
        add(
            text, value: value, title: title ?? (fitted == shown ? nil : shown), tag: "text",
            content: fitted.escapedForXML)
        grow(to: y + size * 0.4)
    }

    /// Adds a line along a path of SVG's commands.
    mutating func stroke(
        _ commands: String, _ role: Role, width: Double, opacity: Double = 1, isDashed: Bool = false,
        value: Double? = nil, title: String? = nil
    ) {
        var text = "<path d=\"\(commands)\" class=\"stroke-\(role.rawValue)\" stroke-width=\"\(Self.number(width))\""
        if opacity < 1 { text += " stroke-opacity=\"\(Self.number(max(0, opacity)))\"" }
        if isDashed { text += " stroke-dasharray=\"3 3\"" }
        add(text, value: value, title: title, tag: "path")
    }

    /// Fills a path of SVG's commands.
    mutating func area(_ commands: String, _ role: Role, opacity: Double) {
        body += "<path d=\"\(commands)\" class=\"\(role.rawValue)\" fill-opacity=\"\(Self.number(opacity))\"/>\n"
    }

    /// Adds what a closure draws as one group, whose attributes gestures can go by.
    mutating func group(_ attributes: [(name: String, value: String)], _ draw: (inout Picture) -> Void) {
        let list = attributes.map { " \($0.name)=\"\($0.value.escapedForXML)\"" }.joined()
        body += "<g\(list)>\n"
        draw(&self)
        body += "</g>\n"
    }

    /// Makes the picture reach down to `y` at least.
    mutating func grow(to y: Double) {
        height = max(height, y)
    }

    private mutating func add(
        _ start: String, value: Double?, title: String?, tag: String, content: String = ""
    ) {
        body += start
        if let value { body += " data-value=\"\(value)\"" }
        let title = title.map { "<title>\($0.printable.escapedForXML)</title>" } ?? ""
        body += title.isEmpty && content.isEmpty ? "/>\n" : ">\(title)\(content)</\(tag)>\n"
    }

    // MARK: - Text

    /// About how wide text is, in pixels: an estimate, since there is no font to ask.
    ///
    /// 0.63 of the size per column, which is a digit of DejaVu Sans, the widest of the fonts asked for; capitals take
    /// more, the narrowest letters less, and what takes two columns 1.1.
    static func extent(of text: String, size: Double) -> Double {
        text.reduce(0) { sum, character in
            let columns = String(character).displayWidth
            if columns != 1 { return sum + Double(columns) * 0.55 * size }
            let share =
                switch character {
                case "i", "j", "l", "I", ".", ",", ":", ";", "'", "|", "!", " ", "t", "f", "r", "(", ")": 0.4
                case "m", "w", "M", "W", "@", "%", "…": 0.95
                case "A"..."Z": 0.74
                default: 0.63
                }
            return sum + share * size
        }
    }

    /// Cuts text to a width, with an ellipsis where something is missing.
    static func fitted(_ text: String, to width: Double, size: Double) -> String {
        if extent(of: text, size: size) <= width { return text }
        var result = ""
        for character in text {
            if extent(of: result + String(character) + "…", size: size) > width { break }
            result.append(character)
        }
        return result + "…"
    }

    /// Breaks text into lines at spaces; a word that is longer than a line is broken where the line ends.
    static func lines(of text: String, width: Double, size: Double) -> [String] {
        var lines = [""]
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            let joined = lines[lines.count - 1].isEmpty ? String(word) : lines[lines.count - 1] + " " + word
            if extent(of: joined, size: size) <= width {
                lines[lines.count - 1] = joined
                continue
            }
            if !lines[lines.count - 1].isEmpty { lines.append("") }
            for character in word {
                if extent(of: lines[lines.count - 1] + String(character), size: size) > width { lines.append("") }
                lines[lines.count - 1].append(character)
            }
        }
        return lines
    }

    /// Adds text over as many lines as it needs.
    ///
    /// - Returns: The baseline of a next line.
    @discardableResult
    mutating func paragraph(
        _ string: String, x: Double, y: Double, width: Double, size: Double = 13, _ role: Role = .ink,
        isBold: Bool = false
    ) -> Double {
        var y = y
        for line in Self.lines(of: string.printable, width: width, size: isBold ? size * 1.06 : size) {
            text(line, x: x, y: y, size: size, role, isBold: isBold)
            y += size * 1.4
        }
        return y
    }

    /// Adds what the picture shows, at its top.
    ///
    /// - Returns: Where what follows begins.
    mutating func caption(_ text: String) -> Double {
        paragraph(text, x: Self.margin, y: 24, width: room, size: 15, isBold: true)
    }

    /// Adds what the reader has to know, one note under the other.
    ///
    /// - Returns: Where what follows begins.
    @discardableResult
    mutating func notes(_ notes: [String], at top: Double) -> Double {
        notes.reduce(top) { y, note in
            paragraph(note, x: Self.margin, y: y, width: room, size: 12.5, .quiet) + 3
        }
    }

    /// A coordinate with at most two decimals.
    static func number(_ number: Double) -> String {
        require(number.isFinite, "A coordinate is \(number).")
        let hundredths = (number * 100).rounded()
        return hundredths == (hundredths / 100).rounded() * 100
            ? "\(Int(hundredths / 100))" : "\(hundredths / 100)"
    }

    // MARK: - The document

    /// The document, with a title for readers who do not see it.
    func svg(title: String, theme: ViewState.Theme) -> String {
        let attribute = theme == .auto ? "" : " \(theme.rawValue)"
        let size = "width=\"\(Self.number(width))\" height=\"\(Self.number(height + 12))\""
        let box = "viewBox=\"0 0 \(Self.number(width)) \(Self.number(height + 12))\""
        return """
            <svg xmlns="http://www.w3.org/2000/svg" \(size) \(box) class="attention-picture\(attribute)" role="img" \
            aria-label="\(title.printable.escapedForXML)">
            <title>\(title.printable.escapedForXML)</title>
            <style>\(Self.styleSheet)</style>
            <rect width="100%" height="100%" class="ground"/>
            \(body)</svg>

            """
    }

    /// Roles as classes.
    ///
    /// Values are written out, not named: not all programs that read SVG know names of values.
    static let styleSheet: String = {
        func rules(_ prefix: String, _ color: (Role) -> String) -> String {
            Role.allCases.map { role in
                let name = role.rawValue
                return "\(prefix) .\(name) { fill: \(color(role)); } "
                    + "\(prefix) .stroke-\(name) { fill: none; stroke: \(color(role)); } "
                    + "\(prefix) .outline-\(name) { stroke: \(color(role)); stroke-width: 1.5; }"
            }.joined(separator: "\n")
        }
        return """

            .attention-picture { font-family: "Liberation Sans", Arial, Helvetica, "DejaVu Sans", "Noto Sans", sans-serif; }
            .attention-picture .bold { font-weight: bold; }
            .attention-picture text { white-space: pre; font-variant-numeric: tabular-nums; }
            \(rules(".attention-picture") { $0.colors.light })
            @media (prefers-color-scheme: dark) {
            \(rules(".attention-picture:not(.light)") { $0.colors.dark })
            }
            \(rules(".attention-picture.dark") { $0.colors.dark })

            """
    }()
}

extension String {
    /// The text with what XML and HTML take for markup written as references, and without what XML forbids.
    var escapedForXML: String {
        var result = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case "\t", "\n", "\r": result += "&#\(scalar.value);"
            case "\u{0}"..<"\u{20}", "\u{FFFE}", "\u{FFFF}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
