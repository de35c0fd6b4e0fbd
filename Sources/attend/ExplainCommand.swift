public import ArgumentParser
import Attention
public import AttentionInspection
import PretrainedModels

/// `attend explain SENTENCE`: what a word attends to.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Shows how much the target word attends to each word, from a real model's own numbers.",
        discussion: """
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

            Layers, heads and positions count from 0. --json prints one object:

              model, scope, unit, target {index, text},
              words [{text, attention, attentionWithoutSink, contribution, effect,
                isSink, isVisible}],
              nextWords [{text, probability}], notes [text],
              of an encoder-decoder with attention: alignment {read, written, weights},
              and with --layer and --head: steps {layer, head, keyValueHead,
                headsSharingKeys, queryPosition, queryText, scale,
                queryBeforeRotation, query, keys [{position, text, word,
                keyBeforeRotation, key, value, dotProduct, scaled, masked, weight,
                weightedValue}], output}.

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

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if !(0...1000 ~= top) { throw ValidationError("--top is \(top); it must be from 0 to 1000.") }
        if steps && (layer == nil || head == nil) {
            throw ValidationError("--steps shows one head: name it with both --layer and --head.")
        }
        if head != nil && layer == nil { throw ValidationError("--head needs its --layer.") }
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            let text = sentence == "-" ? try readStandardInput() : sentence
            let options = ExplanationOptions(
                layer: layer, head: head, showsTokens: tokens, predictionCount: top, effect: effect)
            let style: TextStyle = common.isColored ? .ansi : .plain
            let explanation: Explanation
            var showsHeading = false
            do {
                let model = try source.languageModel(arithmetic: .float32)
                for note in model.notes { StandardError.write("attend: \(note)\n") }
                explanation = try model.explanation(
                    of: text, target: target.map(Target.word) ?? .last, options: options
                ) { partial in
                    // The first line at once; where it cannot be written, the whole picture fails below and says why.
                    if !json { showsHeading = (try? writeOutput(partial.heading(style: style))) != nil }
                }
                if json {
                    try writeOutput(try explanation.json())
                    return
                }
            } catch let error as PretrainedModelError {
                if case .emptyName = error { throw CommandFailure.usage(error.description) }
                throw CommandFailure.failure(error.description)
            } catch let error as InspectionError {
                switch error {
                case .notFinite, .tokenizer: throw CommandFailure.failure(error.description)
                default: throw CommandFailure.usage(error.description)
                }
            }
            if !showsHeading { try writeOutput(explanation.heading(style: style)) }
            try writeOutput(explanation.body(style: style, width: terminalWidth()))
            if steps, let ladder = explanation.steps { try writeOutput("\n" + ladder.text(style: style)) }
        }
    }
}

extension ExplanationOptions.Effect: ExpressibleByArgument {}
