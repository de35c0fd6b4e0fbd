public import SequenceModels

/// What is looked at: the whole state of a page, of its address, and of the command that prints the same.
public struct ViewState: Sendable, Hashable {
    /// What a picture is of.
    public enum Kind: String, Sendable, CaseIterable {
        /// What one word has to do with all others.
        case word
        /// All heads of all layers, small.
        case grid
        /// One head, from every word to every word.
        case head
        /// One head at one word, from its query to what it adds.
        case steps
        /// The same queries and keys compared in other ways.
        case similarity
    }

    /// What a line is.
    public enum Unit: String, Sendable, CaseIterable {
        /// A word: the sum over its tokens of what is attended to, the mean over them of what attends.
        case words
        /// A token, as the model reads it.
        case tokens
    }

    /// What the darkest colour stands for.
    public enum Scale: String, Sendable, CaseIterable {
        /// A weight of 1.
        case absolute
        /// The row's largest weight.
        case row
        /// A weight of 1, and white one of 1/1000: a step of colour is a factor.
        case logarithmic
    }

    /// In which order words stand.
    public enum Order: String, Sendable, CaseIterable {
        /// As in the sentence.
        case sentence
        /// The most attention first.
        case attention
        /// The largest contribution first.
        case contribution
        /// The largest effect first.
        case effect
    }

    /// How attention is drawn.
    public enum Style: String, Sendable, CaseIterable {
        /// As lines, the thicker the more.
        case lines
        /// As shades of what is attended to.
        case stripes
    }

    /// From which side a head is looked at.
    public enum Direction: String, Sendable, CaseIterable {
        /// What the target attends to.
        case outgoing
        /// What attends to the target.
        case incoming
    }

    /// Which colours are taken.
    public enum Theme: String, Sendable, CaseIterable {
        /// Those that the reader's system prefers.
        case auto
        /// Dark on light.
        case light
        /// Light on dark.
        case dark
    }

    /// What is shown.
    public var view = Kind.word
    /// The sentence.
    public var sentence: String
    /// The model's name or path; `nil` is the one that is there.
    public var model: String?
    /// The position of the word or token that is looked at, from 0; `nil` is the last.
    public var target: Int?
    /// The layer, from 0; `nil` is the mean of all.
    public var layer: Int?
    /// The head, from 0, which needs a layer; `nil` is the mean of all.
    public var head: Int?
    /// What a line is.
    public var unit = Unit.words
    /// What the darkest colour stands for.
    public var scale = Scale.absolute
    /// In which order words stand.
    public var order = Order.sentence
    /// How much of the attention is shown, from the heaviest word on, above 0; 1 is all of it.
    public var mass = 1.0
    /// How attention is drawn.
    public var style = Style.lines
    /// From which side a head is looked at.
    public var direction = Direction.outgoing
    /// The measure that is looked at more closely; `nil` is the model's own.
    public var similarity: SimilarityKind?
    /// The first component of vectors that is shown, from 0.
    public var component = 0
    /// When *effect* is computed.
    public var effect = ExplanationOptions.Effect.automatic
    /// How many predictions are shown.
    public var predictionCount = 5
    /// The picture's width in pixels, from 320 to 4096.
    public var width = 720
    /// Which colours are taken.
    public var theme = Theme.auto

    /// Creates the state that a page begins with.
    ///
    /// - Parameter sentence: The sentence.
    public init(sentence: String) {
        self.sentence = sentence
    }

    // MARK: - The address

    /// Reads the state from an address's query.
    ///
    /// - Parameter query: Names and values, decoded. What is absent has its default.
    /// - Throws: ``InspectionError/invalidState(name:value:wanted:)`` when a name is unknown or a value is none it can have.
    public init(query: [String: String]) throws(InspectionError) {
        self.init(sentence: query["text"] ?? "")
        for (name, value) in query.sorted(by: { $0.key < $1.key }) { try set(name, to: value) }
        try check()
    }

    /// Checks what no single field can tell.
    ///
    /// - Throws: `InspectionError` when a head is named without its layer, or a number is out of range.
    func check() throws(InspectionError) {
        func require(_ isValid: Bool, _ name: String, _ value: Any, _ wanted: String) throws(InspectionError) {
            if !isValid { throw .invalidState(name: name, value: "\(value)", wanted: wanted) }
        }
        try require(320...4096 ~= width, "width", width, "a number of pixels from 320 to 4096")
        try require(mass > 0 && mass <= 1, "mass", mass, "a share above 0, and 1 at most")
        try require(component >= 0, "component", component, "a number from 0")
        try require(0...1000 ~= predictionCount, "top", predictionCount, "from 0 to 1000")
        if let target { try require(target >= 0, "target", target, "a position from 0") }
        if let head, layer == nil {
            throw .headWithoutLayer(head)
        }
    }

    private mutating func set(_ name: String, to value: String) throws(InspectionError) {
        func number() throws(InspectionError) -> Int {
            guard let number = Int(value) else {
                throw .invalidState(name: name, value: value, wanted: "a whole number")
            }
            return number
        }
        func choice<Choice: RawRepresentable<String> & CaseIterable>() throws(InspectionError) -> Choice {
            guard let choice = Choice(rawValue: value) else {
                let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
                throw .invalidState(name: name, value: value, wanted: "one of \(names)")
            }
            return choice
        }
        switch name {
        case "text": sentence = value
        case "model": model = value
        case "view": view = try choice()
        case "target": target = try number()
        case "layer": layer = try number()
        case "head": head = try number()
        case "unit": unit = try choice()
        case "scale": scale = try choice()
        case "order": order = try choice()
        case "mass":
            guard let share = Double(value) else {
                throw .invalidState(name: name, value: value, wanted: "a share above 0, and 1 at most")
            }
            mass = share
        case "style": style = try choice()
        case "direction": direction = try choice()
        case "similarity": similarity = try choice() as SimilarityKind
        case "component": component = try number()
        case "effect": effect = try choice()
        case "top": predictionCount = try number()
        case "width": width = try number()
        case "theme": theme = try choice()
        default:
            let names = "text, " + Self.defaults.fields.map(\.name).joined(separator: ", ")
            throw .invalidState(name: name, value: value, wanted: "left out: the names are \(names)")
        }
    }

    private static let defaults = ViewState(sentence: "")

    /// All but the sentence, by the names in an address; `nil` where nothing is chosen.
    private var fields: [(name: String, value: String?)] {
        [
            ("model", model), ("view", view.rawValue), ("target", target.map(String.init)),
            ("layer", layer.map(String.init)), ("head", head.map(String.init)), ("unit", unit.rawValue),
            ("scale", scale.rawValue), ("order", order.rawValue), ("mass", "\(mass)"), ("style", style.rawValue),
            ("direction", direction.rawValue), ("similarity", similarity?.rawValue), ("component", "\(component)"),
            ("effect", effect.rawValue), ("top", "\(predictionCount)"), ("width", "\(width)"),
            ("theme", theme.rawValue),
        ]
    }

    private var choices: [(name: String, value: String)] {
        zip(fields, Self.defaults.fields).compactMap { field, preset in
            field.value == preset.value ? nil : field.value.map { (field.name, $0) }
        }
    }

    /// The state as an address's query: names and values, not encoded, without what has its default.
    public var query: [(name: String, value: String)] { [("text", sentence)] + choices }

    // MARK: - The command

    /// The command line that prints the same numbers, quoted for a POSIX shell.
    public var command: String {
        var words = ["attend", "explain"]
        for (name, value) in choices {
            switch name {
            case "unit": words.append("--tokens")
            case "target": words += ["--target", Self.quoted("#\(value)")]
            default: words += ["--\(name)", Self.quoted(value)]
            }
        }
        // A lone hyphen would stand for standard input.
        if sentence == "-" { return "printf %s - | " + (words + ["-"]).joined(separator: " ") }
        if sentence.hasPrefix("-") { words.append("--") }
        return (words + [Self.quoted(sentence)]).joined(separator: " ")
    }

    private static func quoted(_ text: String) -> String {
        let isPlain = text.unicodeScalars.allSatisfy {
            $0.isASCII && ($0.properties.isAlphabetic || "0123456789._/:=,+-".unicodeScalars.contains($0))
        }
        if isPlain && !text.isEmpty { return text }
        let parts = text.split(separator: "'", omittingEmptySubsequences: false)
        return parts.map { "'\($0)'" }.joined(separator: "\\'")
    }

    /// What an explanation has to be asked for.
    var options: ExplanationOptions {
        ExplanationOptions(
            layer: layer, head: head, showsTokens: unit == .tokens, predictionCount: predictionCount, effect: effect)
    }
}
