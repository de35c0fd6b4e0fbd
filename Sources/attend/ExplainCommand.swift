public import ArgumentParser
import Attention
public import AttentionInspection
import Foundation
import PretrainedModels
public import SequenceModels

/// `attend explain SENTENCE`: what a word attends to.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Shows how much the target word attends to each word, from a real model's own numbers.",
        discussion: """
            --view chooses what is shown: a word, all heads (grid), one head, its steps, or
            other measures of similarity on the same queries and keys. Each is to be had
            as text, JSON, CSV, SVG, PNG and as one HTML file.

            For each word three figures:

              attention     The mean weight α over layers and heads. The weight on a word
                            is the sum over its tokens; a target of several tokens is
                            their mean. Where the first word is an attention sink (0.3
                            and more on the first word), it is shown apart, and the
                            bars share out the rest.
              contribution  What attention really adds: per layer the norm of α·v·W_O
                            summed over the heads, as a share over the words, averaged
                            over the layers.
              effect        How much the prediction at the target changes, in bits of
                            Kullback-Leibler divergence, when the word's input embedding
                            is replaced by the mean embedding. It takes a run per word,
                            and is left out on long sentences unless --effect always.

            Layers, heads and positions count from 0. --format json prints one object:

              model, scope, unit, target {index, text},
              words [{text, attention, attentionWithoutSink, contribution, effect,
                isSink, isVisible}],
              nextWords [{text, probability}], notes [text],
              of an encoder-decoder with attention: alignment {read, written, weights},
              and with --layer and --head: steps {layer, head, keyValueHead,
                headsSharingKeys, queryPosition, queryText, scale,
                queryBeforeRotation, query, keys [{position, text, word,
                keyBeforeRotation, key, value, dotProduct, scaled, masked, weight,
                weightedValue}], output, projectedOutput}.

            Where there is no value (effect left out, a masked score), the field is null.
            """)

    @Argument(help: ArgumentHelp("The text; - reads standard input.", valueName: "sentence"))
    var sentence: String

    @Option(help: "The word to explain, or #N for the word at position N. The last word if none is named.")
    var target: String?

    @OptionGroup var source: ModelOptions

    @Option(help: "Only this layer.")
    var layer: Int?

    @Option(help: "Only this head; needs --layer.")
    var head: Int?

    @Flag(help: "Print every step of the head that --layer and --head name.")
    var steps = false

    @Option(help: "How many predictions to show, from 0 to 1000.")
    var top: Int = 5

    @Flag(help: "Show tokens as they are, not merged to words.")
    var tokens = false

    @Option(help: "When to compute effect: auto, always or never.")
    var effect: ExplanationOptions.Effect = .automatic

    @Option(help: "What to show: \(ViewState.Kind.allCases.map(\.rawValue).joined(separator: ", ")).")
    var view: ViewState.Kind = .word

    @Option(
        help: ArgumentHelp(
            "How to write it: \(OutputFormat.allCases.map(\.rawValue).joined(separator: ", ")); by default what the "
                + "file's ending says, or text.", valueName: "format"))
    var format: OutputFormat?

    @Flag(help: "Short for --format json.")
    var json = false

    @Option(name: [.short, .long], help: ArgumentHelp("Where to write; - is standard output.", valueName: "file"))
    var output: String = "-"

    @OptionGroup(title: "Pictures") var picture: PictureOptions

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if !(0...1000 ~= top) { throw ValidationError("--top is \(top); it must be from 0 to 1000.") }
        if steps && (layer == nil || head == nil) {
            throw ValidationError("--steps shows one head: name it with both --layer and --head.")
        }
        if head != nil && layer == nil { throw ValidationError("--head needs its --layer.") }
        if json && format != nil && format != .json {
            throw ValidationError("--json and --format contradict each other.")
        }
        if output.isEmpty { throw ValidationError("--output is empty; name a file, or - for standard output.") }
    }

    private var chosenFormat: OutputFormat {
        if json { return .json }
        return format ?? OutputFormat(rawValue: URL(fileURLWithPath: output).pathExtension) ?? .text
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            let text = sentence == "-" ? try readStandardInput() : sentence
            do {
                let model = try source.languageModel(arithmetic: .float32)
                for note in model.notes { StandardError.write("attend: \(note)\n") }
                let inspection = try Inspection(of: text, by: model)
                if chosenFormat == .text && view == .word {
                    try writeText(inspection)
                } else {
                    try write(try inspection.render(try state(of: inspection)))
                }
            } catch let error as PretrainedModelError {
                if case .emptyName = error { throw CommandFailure.usage(error.description) }
                throw error
            } catch let error as InspectionError {
                switch error {
                case .notFinite, .tokenizer, .cancelled: throw CommandFailure.failure(error.description)
                default: throw CommandFailure.usage(error.description)
                }
            }
        }
    }

    private func state(of inspection: Inspection) throws -> ViewState {
        var state = ViewState(sentence: inspection.sentence)
        state.view = view
        state.model = source.model
        state.unit = tokens ? .tokens : .words
        state.target = try target.map { try inspection.position(of: .word($0), unit: state.unit) }
        state.layer = layer
        state.head = head
        state.effect = effect
        state.predictionCount = top
        picture.apply(to: &state)
        return state
    }

    /// Writes the picture for a terminal, its first line as soon as it is known.
    private func writeText(_ inspection: Inspection) throws {
        let options = ExplanationOptions(
            layer: layer, head: head, showsTokens: tokens, predictionCount: top, effect: effect)
        let toTerminal = output == "-"
        let style: TextStyle = toTerminal && common.isColored ? .ansi : .plain
        var showsHeading = false
        let explanation = try inspection.explanation(
            target: target.map(Target.word) ?? .last, options: options
        ) { partial in
            // Where it cannot be written, the whole picture fails below and says why.
            if toTerminal { showsHeading = (try? writeOutput(partial.heading(style: style))) != nil }
        }
        var text = showsHeading ? "" : explanation.heading(style: style)
        text += explanation.body(style: style, width: toTerminal ? terminalWidth() : 80)
        if steps, let ladder = explanation.steps { text += "\n" + ladder.text(style: style) }
        try writeResult(Array(text.utf8), to: output)
    }

    private func write(_ view: RenderedView) throws {
        switch chosenFormat {
        case .text:
            let style: TextStyle = output == "-" && common.isColored ? .ansi : .plain
            let notes = view.notes.map { "Note: \($0)\n" }.joined()
            try writeResult(Array((view.table.text(style: style) + notes).utf8), to: output)
        case .json: try writeResult(Array(try view.json().utf8), to: output)
        case .csv: try writeResult(Array(view.table.csv.utf8), to: output)
        case .svg: try writeResult(Array(view.svg.utf8), to: output)
        case .html: try writeResult(Array(view.html().utf8), to: output)
        case .png: try writeResult(try PNGConverter.png(of: view.svg), to: output)
        }
    }
}

/// How a picture looks.
struct PictureOptions: ParsableArguments {
    @Option(help: "What the darkest colour stands for: 1 (absolute), the row's largest (row), or logarithmic.")
    var scale: ViewState.Scale = .absolute

    @Option(help: "The order of the words: sentence, attention, contribution or effect.")
    var order: ViewState.Order = .sentence

    @Option(help: "Show the words with this share of the attention, from the heaviest on; above 0, and 1 at most.")
    var mass: Double = 1

    @Option(help: "How attention is drawn: lines or stripes.")
    var style: ViewState.Style = .lines

    @Option(help: "From which side a head is looked at: outgoing or incoming.")
    var direction: ViewState.Direction = .outgoing

    @Option(help: "The measure to look at: \(SimilarityKind.allCases.map(\.rawValue).joined(separator: ", ")).")
    var similarity: SimilarityKind?

    @Option(help: "The first component of vectors that is shown.")
    var component: Int = 0

    @Option(help: "The picture's width in pixels, from 320 to 4096.")
    var width: Int = 720

    @Option(help: "The colours: auto, as the reader's system prefers; light or dark.")
    var theme: ViewState.Theme = .auto

    func apply(to state: inout ViewState) {
        state.scale = scale
        state.order = order
        state.mass = mass
        state.style = style
        state.direction = direction
        state.similarity = similarity
        state.component = component
        state.width = width
        state.theme = theme
    }
}

/// How a view is written.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case text
    case json
    case csv
    case svg
    case png
    case html
}

extension ExplanationOptions.Effect: ExpressibleByArgument {}
extension ViewState.Kind: ExpressibleByArgument {}
extension ViewState.Scale: ExpressibleByArgument {}
extension ViewState.Order: ExpressibleByArgument {}
extension ViewState.Style: ExpressibleByArgument {}
extension ViewState.Direction: ExpressibleByArgument {}
extension ViewState.Theme: ExpressibleByArgument {}
