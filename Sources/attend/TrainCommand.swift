public import ArgumentParser
import Foundation
public import PretrainedModels
public import SequenceModels

/// `attend train CORPUS… --output FOLDER`: a model of one's own text.
struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Trains a model on your own text.",
        discussion: """
            CORPUS is text (files, folders, or - for standard input), or JSON lines
            {"source": …, "target": …} in files that end in .jsonl:
              attend train book.txt --output book
              attend train letters/ --model lstm --size tiny --minutes 5 --output letters-lstm
              attend train pairs.jsonl --model seq2seq --output translator

            The folder then answers:
              attend generate --model book "Once upon a time"
              attend explain --model book "The FBI is chasing"

            A tenth of the corpus is kept back to measure the validation loss, in nats per
            token. Metrics go to metrics.jsonl and, for TensorBoard, to events. Checkpoints
            are written every --checkpoint-every steps and every minute; a run that was
            stopped or killed goes on with --resume, and ends in the same bytes as if it
            had not been (with --steps; --minutes depends on the clock).
            """)

    @Argument(help: ArgumentHelp("Files and folders of text; - is standard input.", valueName: "corpus"))
    var corpus: [String] = []

    @Option(name: [.short, .long], help: ArgumentHelp("Where the model goes.", valueName: "folder"))
    var output: String

    @Option(help: "Which model. Default: transformer.")
    var model: TextModelConfiguration.Architecture?

    @Option(help: "Width, layers and context by name. Default: small.")
    var size: TextModelConfiguration.Size?

    @Option(help: ArgumentHelp("The length of the vectors between layers.", valueName: "n"))
    var width: Int?

    @Option(help: ArgumentHelp("The number of layers.", valueName: "n"))
    var layers: Int?

    @Option(help: ArgumentHelp("The number of heads of a transformer.", valueName: "n"))
    var heads: Int?

    @Option(help: ArgumentHelp("How many tokens are read at once.", valueName: "n"))
    var context: Int?

    @Option(help: "How the decoder of seq2seq attends to the source. Default: bahdanau.")
    var attention: TextModelConfiguration.EncoderAttention?

    @Option(help: "How keys match queries: transformer, and seq2seq with the attention luong or local.")
    var similarity: SimilarityKind?

    @Option(help: ArgumentHelp("The share that is dropped in training, from 0 to 1. Default: 0.", valueName: "share"))
    var dropout: Double?

    @Option(
        help: ArgumentHelp(
            "characters, or bpe:N for N tokens of bytes merged. Default: by the corpus's size.", valueName: "tokenizer")
    )
    var tokenizer: TokenizerChoice?

    @Option(help: ArgumentHelp("Sequences in a batch. Default: 16.", valueName: "n"))
    var batch: Int?

    @Option(help: ArgumentHelp("Batches in a step. Default: 1.", valueName: "n"))
    var accumulate: Int?

    @Option(help: ArgumentHelp("Steps in all. Default: 1000.", valueName: "n"))
    var steps: Int?

    @Option(help: ArgumentHelp("Minutes in all, instead of steps.", valueName: "n"))
    var minutes: Double?

    @Option(help: ArgumentHelp("The largest learning rate. Default: by the model.", valueName: "rate"))
    var learningRate: Double?

    @Option(help: "How the learning rate goes over the run. Default: cosine, after a rise.")
    var schedule: LearningRateSchedule?

    @Option(help: "How parameters follow their gradients. Default: adamw.")
    var optimizer: TrainingSettings.OptimizerName?

    @Option(help: ArgumentHelp("How much of the weights decays, with adamw. Default: 0.01.", valueName: "rate"))
    var weightDecay: Double?

    @Option(help: ArgumentHelp("The largest norm of all gradients; 0 is any. Default: 1.", valueName: "norm"))
    var clip: Double?

    @Option(help: ArgumentHelp("Where all random numbers come from. Default: 1.", valueName: "n"))
    var seed: UInt64?

    @Option(help: ArgumentHelp("Steps between validations. Default: a tenth of the run, at most 250.", valueName: "n"))
    var validateEvery: Int?

    @Option(help: ArgumentHelp("Steps between checkpoints. Default: 500.", valueName: "n"))
    var checkpointEvery: Int?

    @Flag(help: "Go on with the run in the folder; begin it if there is none.")
    var resume = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if steps != nil && minutes != nil {
            throw ValidationError("Name --steps or --minutes, not both.")
        }
        if corpus.isEmpty && !resume {
            throw ValidationError("Name a corpus: files or folders of text, or - for standard input.")
        }
        if output.isEmpty { throw ValidationError("The name of the output folder is empty.") }
        for (name, value) in [
            ("width", width), ("layers", layers), ("heads", heads), ("context", context), ("batch", batch),
            ("accumulate", accumulate), ("steps", steps), ("validate-every", validateEvery),
            ("checkpoint-every", checkpointEvery),
        ] {
            if let value, value < 1 { throw ValidationError("--\(name) is \(value); it must be at least 1.") }
        }
        if let minutes, !(minutes > 0 && minutes < 1e6) {
            throw ValidationError("--minutes is \(minutes); it must be above 0.")
        }
    }

    private var request: TrainingRequest {
        var request = TrainingRequest()
        request.corpus = corpus
        request.architecture = model
        request.size = size
        request.width = width
        request.layerCount = layers
        request.headCount = heads
        request.contextLength = context
        request.attention = attention
        request.similarity = similarity
        request.dropoutRate = dropout
        request.tokenizer = tokenizer
        request.batchSize = batch
        request.accumulation = accumulate
        request.stepCount = steps
        request.minutes = minutes
        request.learningRate = learningRate
        request.schedule = schedule
        request.optimizer = optimizer
        request.weightDecay = weightDecay
        request.maximumGradientNorm = clip
        request.seed = seed
        request.validationInterval = validateEvery
        request.checkpointInterval = checkpointEvery
        return request
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            do {
                try train()
            } catch let error as TrainingRunError {
                switch error {
                case .invalidSettings, .folderHasRun, .differs:
                    throw CommandFailure.usage(error.description)
                default: throw CommandFailure.failure(error.description)
                }
            }
        }
    }

    private func train() throws {
        let standardInput = corpus.contains("-") ? try readStandardInputBytes() : []
        var run = try TrainingRun(request, output: output, isResumed: resume, standardInput: standardInput)
        for note in run.notes { StandardError.write("attend: \(note)\n") }
        let settings = run.settings
        StandardError.write(
            "Training a \(settings.architecture.rawValue) of \(Self.grouped(run.parameterCount)) parameters (width "
                + "\(settings.width), \(settings.layerCount) layers, context \(settings.contextLength)) on "
                + "\(Self.grouped(run.tokenCount)) tokens of \(Self.grouped(run.vocabularySize)) kinds.\n")
        var line = ProgressLine()
        var shownValidation: Double?
        Interruption.watch()
        let outcome: TrainingRun.Outcome
        do {
            func show(_ progress: TrainingRun.Progress) {
                let isDue = progress.validationLoss != shownValidation || progress.share >= 1
                shownValidation = progress.validationLoss
                line.show(share: progress.share, text: Self.text(progress), isDue: isDue)
            }
            outcome = try run.run(shouldStop: { Interruption.isRequested }, onProgress: show)
        } catch {
            line.close()
            throw error
        }
        line.close()
        if outcome.isInterrupted {
            let source = settings.corpus.contains("-") ? settings.corpus.joined(separator: " ") + " " : ""
            StandardError.write(
                "Stopped after step \(outcome.stepCount). Go on with: attend train \(source)--output \(output) --resume\n"
            )
            throw ExitCode(128 + Interruption.signalNumber)
        }
        let losses = [("loss", outcome.loss), ("validation loss", outcome.validationLoss)].compactMap { name, value in
            value.map { "\(name) \(Self.fixed($0, 4))" }
        }
        try writeOutput(
            "\(output): \(outcome.stepCount) steps" + losses.map { ", \($0)" }.joined() + "\n")
    }

    private static func text(_ progress: TrainingRun.Progress) -> String {
        let step = progress.stepCount.map { "\(grouped(progress.step))/\(grouped($0))" } ?? grouped(progress.step)
        let validation = progress.validationLoss.map { "  validation \(fixed($0, 3))" } ?? ""
        return "step \(step)  loss \(fixed(progress.loss, 3))\(validation)  "
            + "\(grouped(Int(progress.tokensPerSecond))) tokens/s  \(ProgressLine.duration(progress.secondsLeft)) left"
    }

    private static func fixed(_ number: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", number) }

    private static func grouped(_ number: Int) -> String {
        var digits = String(number)
        var place = digits.index(digits.endIndex, offsetBy: -3, limitedBy: digits.startIndex)
        while let current = place, current > digits.startIndex {
            digits.insert(",", at: current)
            place = digits.index(current, offsetBy: -3, limitedBy: digits.startIndex)
        }
        return digits
    }
}

extension TextModelConfiguration.Architecture: ExpressibleByArgument {}
extension TextModelConfiguration.Size: ExpressibleByArgument {}
extension TextModelConfiguration.EncoderAttention: ExpressibleByArgument {}
extension SimilarityKind: ExpressibleByArgument {}
extension LearningRateSchedule: ExpressibleByArgument {}
extension TrainingSettings.OptimizerName: ExpressibleByArgument {}

extension TokenizerChoice: ExpressibleByArgument {
    /// Reads `characters` or `bpe:N`.
    ///
    /// - Parameter argument: What was typed.
    public init?(argument: String) {
        self.init(argument)
    }
}
