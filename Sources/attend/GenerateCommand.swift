public import ArgumentParser
public import Attention
import ModelFiles
import PretrainedModels
import SequenceModels

/// `attend generate --model FOLDER TEXT`: what a model writes after a text.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Continues a text, token by token.",
        discussion: """
            A model that learned pairs writes the target of the text:
              attend generate --model book "Once upon a time" --count 200
              attend generate --model translator "guten Tag" --temperature 0

            The same seed writes the same text.

            The lines of a file are continued side by side, which is several times faster, into lines of JSON with
            "prompt" and "continuation"; called again after an interruption, it goes on where it was:
              attend generate --prompts beginnings.txt --output texts.jsonl
            """)

    @Argument(help: ArgumentHelp("What to continue; - reads standard input.", valueName: "text"))
    var text: String?

    @Option(help: ArgumentHelp("Continue each line of a file; - is standard input.", valueName: "file"))
    var prompts: String?

    @Option(help: ArgumentHelp("Where the lines of JSON for --prompts go.", valueName: "file"))
    var output: String?

    @OptionGroup var source: ModelOptions

    @Option(help: ArgumentHelp("How many tokens to write at most.", valueName: "n"))
    var count: Int = 100

    @Option(help: "Divides the logits: 0 writes the most likely, 1 samples as the model says.")
    var temperature: Double = 0.8

    @Option(help: ArgumentHelp("Pick from the n most likely; 0 is all.", valueName: "n"))
    var top: Int = 40

    @Option(help: ArgumentHelp("Where random numbers come from.", valueName: "n"))
    var seed: UInt64 = 1

    @Option(
        help: ArgumentHelp(
            "What products with quantised weights compute with: \(WeightMatrix.Arithmetic.allValueStrings.joined(separator: ", ")).",
            valueName: "type"))
    var arithmetic: WeightMatrix.Arithmetic = .int8

    @Option(
        help: ArgumentHelp(
            "How weights that are not quantised are stored: \(StoredType.listed). bfloat16 and float16 take half the memory.",
            valueName: "type"))
    var weights: StoredType?

    @Option(
        help: ArgumentHelp("How keys and values of what was read are stored: \(StoredType.listed).", valueName: "type"))
    var cache: StoredType?

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if count < 0 { throw ValidationError("--count is \(count); it must be at least 0.") }
        if !(temperature >= 0 && temperature.isFinite) {
            throw ValidationError("--temperature is \(temperature); it must be at least 0.")
        }
        if (text == nil) == (prompts == nil) {
            throw ValidationError("Give a text to continue, or --prompts and a file of texts.")
        }
        if (prompts == nil) != (output == nil) { throw ValidationError("--prompts and --output go together.") }
        if top < 0 { throw ValidationError("--top is \(top); it must be at least 0.") }
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            let model = try source.languageModel(arithmetic: arithmetic)
                .storing(weights: weights?.elementType, cache: cache?.elementType)
            for note in model.notes { StandardError.write("attend: \(note)\n") }
            if let prompts, let output {
                try ContinuedLines(
                    model: model, count: count,
                    sampler: { TokenSampler(temperature: temperature, topCount: top == 0 ? nil : top, seed: $0) },
                    seed: seed
                ).write(prompts, to: output)
            } else {
                let prompt = text == "-" ? try readStandardInput() : text ?? ""
                try write(model, after: try Self.tokens(of: prompt, for: model), prompt)
            }
        }
    }

    /// Returns a text's tokens, of which there are some, and no more than the model takes.
    static func tokens(of prompt: String, for model: LanguageModel) throws -> [Int32] {
        let tokens = try model.promptTokens(of: prompt)
        guard !tokens.isEmpty else {
            throw CommandFailure.usage("the text is empty. Give at least one word to continue.")
        }
        // A source is followed by an end token before its target begins.
        let count = tokens.count + (model.prompting == .pairs && !model.model.readsSource ? 1 : 0)
        if let limit = model.model.contextLength, count > limit {
            throw CommandFailure.usage(
                "the text has \(count) tokens, but the model takes at most \(limit). Shorten it.")
        }
        return tokens
    }

    private func write(_ model: LanguageModel, after tokens: [Int32], _ prompt: String) throws {
        var sampler = TokenSampler(temperature: temperature, topCount: top == 0 ? nil : top, seed: seed)
        // A target stands by itself; running text goes on.
        if model.prompting == .text { try writeOutput(prompt) }
        var decoder = StreamingDecoder(model.tokenizer, skippingSpecialTokens: true)
        var failure: (any Error)?
        model.continuation(of: tokens, maximumCount: count, sampler: &sampler) { token in
            do {
                try writeOutput(try decoder.append(token))
                return true
            } catch {
                failure = error
                return false
            }
        }
        if let failure { throw failure }
        try writeOutput(decoder.finish() + "\n")
    }
}

extension WeightMatrix.Arithmetic: ExpressibleByArgument {}

/// How a number is stored that is computed with as float32.
enum StoredType: String, CaseIterable, ExpressibleByArgument {
    case float32, float16, bfloat16

    static let listed = allValueStrings.joined(separator: ", ")

    var elementType: ElementType {
        switch self {
        case .float32: .float32
        case .float16: .float16
        case .bfloat16: .bfloat16
        }
    }
}
