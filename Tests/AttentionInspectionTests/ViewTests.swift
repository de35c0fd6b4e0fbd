import Attention
import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

@testable import AttentionInspection

#if canImport(FoundationXML)
    import FoundationXML
#endif

@Suite struct `Views of an inspection` {
    private static let sentence = "The hellos, when 3.5 o'clock hellos"

    private let inspection: Inspection

    init() throws {
        inspection = try Inspection(of: Self.sentence, by: LanguageModel(TinyLlama().contents.file(path: "tiny.gguf")))
    }

    private func state(_ view: ViewState.Kind, _ change: (inout ViewState) -> Void = { _ in }) -> ViewState {
        var state = ViewState(sentence: Self.sentence)
        state.view = view
        state.layer = 1
        state.head = 2
        change(&state)
        return state
    }

    private static let hostileTexts = [
        "a <script>alert(1)</script> & \"b\" 'c' ]]> <!-- d", "\u{1B}[31m \u{0}\u{FFFE} x", "日本語 👩‍👩‍👧 مرحبا e\u{301}",
        "\u{202E}abc",
    ]

    // MARK: - Every view

    @Test(arguments: ViewState.Kind.allCases, [320, 720, 1600])
    func `is well-formed, within its width, and without NaN`(view: ViewState.Kind, width: Int) throws {
        for style in ViewState.Style.allCases {
            for scale in ViewState.Scale.allCases {
                let rendered = try inspection.render(
                    state(view) {
                        $0.width = width
                        $0.style = style
                        $0.scale = scale
                        $0.target = 3
                    })
                let picture = try ParsedPicture(rendered.svg)
                #expect(picture.elements.count > 20)
                #expect(!rendered.svg.contains("nan") && !rendered.svg.contains("inf\""))
                #expect(rendered.table.rows.allSatisfy { $0.count == rendered.table.columns.count })
                #expect(!rendered.table.rows.isEmpty)
                for element in picture.elements where element.name == "rect" {
                    guard let x = element.number("x"), let extent = element.number("width") else { continue }
                    #expect(x >= 0 && x + extent <= Double(width) + 0.5, "\(element.attributes)")
                }
                for element in picture.elements where element.name == "text" && element.attributes["transform"] == nil {
                    let x = try #require(element.number("x"))
                    let size = try #require(element.number("font-size"))
                    let extent = Picture.extent(of: element.text, size: size)
                    let left =
                        switch element.attributes["text-anchor"] {
                        case "end": x - extent
                        case "middle": x - extent / 2
                        default: x
                        }
                    // A bold line may be a little longer than the estimate by which it was broken.
                    #expect(left >= -1 && left + extent <= Double(width) + 1, "\(view) \(width): \(element.text)")
                }
            }
        }
    }

    @Test(arguments: ViewState.Kind.allCases, hostileTexts)
    func `shows markup and control characters as text`(view: ViewState.Kind, text: String) throws {
        let inspection = try Inspection(of: text, by: inspection.model)
        for unit in ViewState.Unit.allCases {
            let rendered = try inspection.render(state(view) { $0.unit = unit })
            let picture = try ParsedPicture(rendered.svg)
            #expect(picture.elements.allSatisfy { !["script", "b"].contains($0.name) })
            #expect(!rendered.svg.contains("<script") && !rendered.svg.contains("\u{1B}"))
            #expect(rendered.html().components(separatedBy: "<script").count == 2)
            #expect(!rendered.svg.contains("\u{202E}"))
        }
    }

    @Test(arguments: ViewState.Kind.allCases) func `gives the numbers as JSON, CSV and HTML`(view: ViewState.Kind)
        throws
    {
        let rendered = try inspection.render(state(view))
        #expect(try JSONValue(parsing: Array(rendered.json().utf8)).objectValue != nil)
        let csv = rendered.table.csv
        #expect(csv.hasSuffix("\r\n"))
        #expect(csv.components(separatedBy: "\r\n").count == rendered.table.rows.count + 2)
        let html = rendered.html()
        #expect(html.contains(rendered.svg))
        #expect(html.utf8.count < 3_000_000)
        for address in ["http://", "https://"] {
            // Names of XML's vocabularies are no addresses that anybody calls.
            #expect(!html.replacing("http://www.w3.org/2000/svg", with: "").contains(address))
        }
    }

    @Test(arguments: [ViewState.Kind.steps, .similarity]) func `needs a head`(view: ViewState.Kind) {
        let error = InspectionError.viewNeedsHead(view: view.rawValue)
        #expect(throws: error) { try inspection.render(state(view) { $0.head = nil }) }
        #expect(throws: error) {
            try inspection.render(
                state(view) {
                    $0.layer = nil
                    $0.head = nil
                })
        }
    }

    @Test(arguments: ViewState.Kind.allCases) func `refuses what does not exist`(view: ViewState.Kind) {
        #expect(throws: InspectionError.layerOutOfRange(layer: 9, layerCount: 2)) {
            try inspection.render(state(view) { $0.layer = 9 })
        }
        #expect(throws: InspectionError.headOutOfRange(head: 4, headCount: 4)) {
            try inspection.render(state(view) { $0.head = 4 })
        }
        #expect(throws: InspectionError.self) { try inspection.render(state(view) { $0.width = 10 }) }
        if view != .grid {
            #expect(throws: InspectionError.self) { try inspection.render(state(view) { $0.target = 99 }) }
        }
    }

    // MARK: - The word view

    @Test func `words have the explanation's numbers, with the terminal's digits`() throws {
        let explanation = try inspection.explanation(target: .position(4))
        let rendered = try inspection.render(
            state(.word) {
                $0.target = 4
                $0.layer = nil
                $0.head = nil
            })
        let picture = try ParsedPicture(rendered.svg)
        for (index, word) in explanation.words.enumerated() where word.isVisible {
            let figures = picture.elements.filter {
                $0.name == "text" && $0.group["data-word"] == "\(index)" && $0.group["class"] == "row"
                    && $0.attributes["data-value"] != nil
            }
            let expected = [word.attentionWithoutSink ?? word.attention, word.contribution, word.effect]
            #expect(figures.map { $0.number("data-value") } == expected)
            let printed = [
                Numbers.percent(expected[0] ?? .nan), Numbers.percent(expected[1] ?? .nan),
                Numbers.bits(expected[2] ?? .nan),
            ].map(\.trimmingWhiteSpace)
            #expect(figures.map(\.text) == printed)
            let lines = explanation.text().split(separator: "\n").filter { $0.contains(" \(index) \(word.text) ") }
            for number in printed { #expect(lines.contains { $0.contains(number) }, "\(number) of \(word.text)") }
        }
    }

    @Test func `sorts, and hides the least words with their share named`() throws {
        let explanation = try inspection.explanation()
        let sorted = try inspection.render(
            state(.word) {
                $0.order = .attention
                $0.layer = nil
                $0.head = nil
            })
        let shares = sorted.table.rows.compactMap { Double($0[2]) }
        #expect(shares == shares.sorted(by: >))
        let part = try inspection.render(
            state(.word) {
                $0.mass = 0.5
                $0.layer = nil
                $0.head = nil
            })
        #expect(part.table.rows.count < explanation.words.count)
        let shown = part.table.rows.compactMap { Int($0[0]) }
        let hidden = explanation.words.indices.filter { !shown.contains($0) }
        let share = sum(hidden.map { explanation.words[$0].attentionFigure })
        #expect(share <= 0.5 + 1e-6)
        #expect(part.notes[0].hasPrefix("\(hidden.count) of \(explanation.words.count) words are not shown"))
        #expect(part.notes[0].contains(Numbers.percent(share).trimmingWhiteSpace))
    }

    @Test func `tokens that are parts of a character say which character`() throws {
        let inspection = try Inspection(of: "a ß🦊", by: inspection.model)
        let rendered = try inspection.render(ViewState(sentence: "").with { $0.unit = .tokens })
        let texts = rendered.table.rows.map { $0[1] }
        #expect(texts == ["a", " ", "ß (1/2)", "ß (2/2)", "🦊 (1/4)", "🦊 (2/4)", "🦊 (3/4)", "🦊 (4/4)"])
    }

    // MARK: - The steps view

    @Test(arguments: [0, 3, 5]) func `steps recombine from what is shown`(target: Int) throws {
        let rendered = try inspection.render(
            state(.steps) {
                $0.target = target
                $0.width = 4096
            })
        let picture = try ParsedPicture(rendered.svg)
        var numbers: [String: Double] = [:]
        for element in picture.elements {
            guard let value = element.number("data-value"), let title = element.title else { continue }
            numbers[String(title.prefix(upTo: title.lastIndex(of: ":") ?? title.endIndex))] = value
        }
        let steps = try inspection.steps(target: target, layer: 1, head: 2, showsTokens: false)
        let visible = steps.keys.filter { $0.masked != nil }
        func number(_ name: String) throws -> Double { try #require(numbers[name], "\(name)") }
        var output = [Double](repeating: 0, count: steps.query.count)
        var exponentials = 0.0
        for key in visible {
            let token = "\(key.position) \(key.text.printable.trimmingWhiteSpace)"
            var product = 0.0
            let weight = try number("softmax α, \(token)")
            for component in steps.query.indices {
                let (q, k) = (try number("q, q rotated, \(component)"), try number("k, \(token), \(component)"))
                #expect(abs(q * k - (try number("q×k, \(token), \(component)"))) < 1e-4)
                product += q * k
                let weighted = try number("α·v, \(token), \(component)")
                #expect(abs(weight * (try number("v, \(token), \(component)")) - weighted) < 1e-4)
                output[component] += weighted
            }
            #expect(abs(product - (try number("q·k, \(token)"))) < 1e-4)
            #expect(abs(product * steps.scale - (try number("× scale, \(token)"))) < 1e-4)
            exponentials += try number("e^…, \(token)")
        }
        for key in visible {
            let token = "\(key.position) \(key.text.printable.trimmingWhiteSpace)"
            #expect(abs((try number("e^…, \(token)")) / exponentials - (try number("softmax α, \(token)"))) < 1e-4)
        }
        var component = 0.0
        for index in output.indices {
            let shown = try number("α·v, Σ output, \(index)")
            #expect(abs(output[index] - shown) < 1e-4)
            let (o, w) = (try number("W_O, output, \(index)"), try number("W_O, W_O, \(index)"))
            #expect(o == shown)
            #expect(abs(o * w - (try number("W_O, product, \(index)"))) < 1e-4)
            component += o * w
        }
        let largest = try #require(steps.projectedOutput.map(abs).max())
        #expect(abs(abs(component) - Double(largest)) < 1e-4)
    }

    // What all heads add is what attention adds.
    @Test func `the heads' parts of W_O add up to the attention's output`() throws {
        let pass = try inspection.forwardPass()
        for layer in 0..<2 {
            var total = [Double](repeating: 0, count: 32)
            let target = 4
            for head in 0..<4 {
                let steps = try inspection.steps(target: target, layer: layer, head: head, showsTokens: true)
                for (index, number) in steps.projectedOutput.enumerated() { total[index] += Double(number) }
            }
            let whole = pass.trace.layers[layer].attentionOutput
            for index in total.indices { #expect(abs(total[index] - Double(whole[0, target, index])) < 1e-4) }
        }
    }

    // MARK: - Heads

    @Test func `the matrix has the explanation's attention, and rows that sum to 1`() throws {
        for (layer, head) in [(nil, nil), (0, nil), (1, 3)] as [(Int?, Int?)] {
            for unit in ViewState.Unit.allCases {
                let matrix = try inspection.weights(layer: layer, head: head, unit: unit)
                for target in matrix.texts.indices {
                    let options = ExplanationOptions(
                        layer: layer, head: head, showsTokens: unit == .tokens, effect: .never)
                    let words = try inspection.explanation(target: .position(target), options: options).words
                    for (to, word) in words.enumerated() {
                        #expect(abs(matrix[target, to] - word.attentionFigure) < 1e-5)
                    }
                    #expect(abs(sum(matrix.texts.indices.map { matrix[target, $0] }) - 1) < 1e-5)
                }
            }
        }
    }

    @Test func `weights that were not recorded are those that would have been`() throws {
        let pass = try inspection.forwardPass(recording: 2..<5)
        let other = try Inspection(of: Self.sentence, by: inspection.model).forwardPass()
        #expect(
            pass.attentionWeights(layer: 1, queries: 3..<5).floats
                == other.attentionWeights(layer: 1, queries: 3..<5).floats)
    }

    @Test func `badges tell made-up heads apart`() {
        let ids: [Int32] = [7, 1, 2, 3, 1, 2, 3]
        func role(_ weight: (Int, Int) -> Float) -> HeadRole? {
            let weights = ids.indices.flatMap { from in ids.indices.map { $0 > from ? 0 : weight(from, $0) } }
            return HeadBadge(layer: 0, head: 0, weights: weights, ids: ids, isCausal: true).role
        }
        #expect(role { $1 == max(0, $0 - 1) ? 1 : 0 } == .previous)
        #expect(role { $0 == $1 ? 1 : 0 } == .itself)
        #expect(role { $1 == 0 ? 1 : 0 } == .first)
        #expect(role { from, _ in 1 / Float(from + 1) } == .broad)
        #expect(role { $0 < 4 ? ($1 == 0 ? 0.29 : ($1 == $0 ? 0.4 : 0)) : ($1 == $0 - 3 ? 1 : 0) } == .duplicate)
        #expect(role { $0 < 4 ? ($1 == 0 ? 0.29 : ($1 == $0 ? 0.4 : 0)) : ($1 == $0 - 2 ? 1 : 0) } == .induction)
    }

    @Test func `thumbnails have a shade for every weight`() throws {
        let thumbnails = try inspection.thumbnails(unit: .tokens)
        let matrix = try inspection.weights(layer: 1, head: 2, unit: .tokens)
        #expect(thumbnails.size == matrix.count)
        let first = (1 * 4 + 2) * matrix.weights.count
        #expect(thumbnails.bytes.count == 8 * matrix.weights.count)
        for (byte, weight) in zip(thumbnails.bytes[first...], matrix.weights) {
            #expect(abs(Float(byte) - 255 * weight) <= 0.6)
        }
        #expect(try inspection.thumbnails(unit: .tokens, size: 3).bytes.count == 8 * 9)
    }

    // MARK: - Similarity

    @Test func `the model's own measure gives the model's own weights`() throws {
        let rendered = try inspection.render(state(.similarity) { $0.target = 3 })
        let steps = try inspection.steps(target: 3, layer: 1, head: 2, showsTokens: false)
        let data = try JSONValue(parsing: Array(rendered.json().utf8))
        let measures = try #require(data["measures"]?.arrayValue)
        #expect(measures.compactMap { $0["similarity"]?.stringValue } == SimilarityKind.allCases.map(\.rawValue))
        for measure in measures {
            let weights = try #require(measure["weights"]?.arrayValue).compactMap(\.doubleValue)
            #expect(abs(sum(weights) - 1) < 1e-9)
            for (weight, key) in zip(weights, steps.keys) where key.masked == nil { #expect(weight == 0) }
            if ["scaled-dot", "general"].contains(measure["similarity"]?.stringValue) {
                for (weight, key) in zip(weights, steps.keys) { #expect(abs(weight - key.weight) < 1e-5) }
            }
        }
    }
}

@Suite struct `The state of a view` {
    private var full: ViewState {
        var state = ViewState(sentence: "don't <panic> & \"go\"\n🦊 -o x")
        state.view = .steps
        state.model = "a model"
        state.target = 3
        state.layer = 1
        state.head = 0
        state.unit = .tokens
        state.scale = .logarithmic
        state.order = .effect
        state.mass = 0.7
        state.style = .stripes
        state.direction = .incoming
        state.similarity = .linearAdditive
        state.component = 16
        state.effect = .never
        state.predictionCount = 3
        state.width = 360
        state.theme = .dark
        return state
    }

    @Test func `survives its address`() throws {
        for state in [full, ViewState(sentence: ""), ViewState(sentence: "a")] {
            let query = Dictionary(uniqueKeysWithValues: state.query.map { ($0.name, $0.value) })
            #expect(try ViewState(query: query) == state)
        }
        #expect(ViewState(sentence: "a b").query.map(\.name) == ["text"])
    }

    @Test func `is quoted for a shell`() {
        #expect(ViewState(sentence: "a b").command == "attend explain 'a b'")
        #expect(ViewState(sentence: "it's").command == "attend explain 'it'\\''s'")
        #expect(ViewState(sentence: "--help").command == "attend explain -- --help")
        #expect(ViewState(sentence: "-").command == "printf %s - | attend explain -")
        #expect(ViewState(sentence: "$(reboot) `x`").command == "attend explain '$(reboot) `x`'")
        #expect(full.command.contains("--target '#3' --layer 1 --head 0 --tokens --scale logarithmic"))
    }

    @Test(arguments: [
        ["nonsense": "1"], ["view": "nothing"], ["layer": "one"], ["layer": "99999999999999999999"], ["width": "319"],
        ["width": "4097"], ["mass": "0"], ["mass": "nan"], ["mass": "-1"], ["mass": "inf"], ["top": "-1"],
        ["target": "-3"], ["component": "-1"], ["theme": "<script>"], ["unit": ""],
        ["similarity": String(repeating: "x", count: 100_000)],
    ]) func `refuses hostile queries`(query: [String: String]) throws {
        let error = #expect(throws: InspectionError.self) {
            try ViewState(query: query.merging(["text": "a"]) { $1 })
        }
        guard case .invalidState = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try #require(error).description.utf8.count < 600)
    }

    @Test func `refuses a head without its layer`() {
        #expect(throws: InspectionError.self) { try ViewState(query: ["text": "a", "head": "1"]) }
    }
}

@Suite struct `A table` {
    @Test func `quotes what CSV takes for its own`() {
        let table = Table(title: "", columns: ["a", "b"], rows: [["x,y", "\"z\""], ["1\n2", ""]])
        #expect(table.csv == "a,b\r\n\"x,y\",\"\"\"z\"\"\"\r\n\"1\n2\",\r\n")
    }
}

/// A picture read back: its elements with their attributes, text and titles.
private final class ParsedPicture: NSObject, XMLParserDelegate {
    struct Element {
        let name: String
        let attributes: [String: String]
        /// The attributes of the innermost group around it.
        let group: [String: String]
        var text = ""
        var title: String?

        func number(_ name: String) -> Double? { attributes[name].flatMap(Double.init) }
    }

    private(set) var elements: [Element] = []
    private var open: [Int] = []
    private var groups: [[String: String]] = []

    init(_ svg: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        super.init()
        let parser = XMLParser(data: Data(svg.utf8))
        parser.delegate = self
        let isWellFormed = parser.parse()
        try #require(isWellFormed, "\(String(describing: parser.parserError))", sourceLocation: sourceLocation)
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
        attributes: [String: String]
    ) {
        if name == "g" { groups.append(attributes) }
        open.append(elements.count)
        elements.append(Element(name: name, attributes: attributes, group: groups.last ?? [:]))
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) {
        guard let last = open.last else { return }
        elements[last].text += text
        if elements[last].name == "title", let parent = open.dropLast().last {
            elements[parent].title = (elements[parent].title ?? "") + text
        }
    }

    func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
        if name == "g" { groups.removeLast() }
        open.removeLast()
    }
}

extension ViewState {
    /// The state with a change.
    fileprivate func with(_ change: (inout ViewState) -> Void) -> ViewState {
        var state = self
        change(&state)
        return state
    }
}
