internal import Attention
internal import Foundation
internal import ModelFiles
internal import SequenceModels

/// A training run in a folder: the corpus as tokens, the model, its checkpoints and its metrics.
///
/// The folder holds `run.json` (all settings), `config.json`, `tokenizer.json` and, at the end, `model.safetensors`;
/// `metrics.jsonl` and `events` say how it went, and `checkpoints` holds what it goes on from. Everything is a function of
/// the settings and the corpus: a run that was killed and resumed ends in the same bytes as one that was not.
public struct TrainingRun {
    /// How a run stands.
    public struct Progress: Sendable {
        /// What happened in the last step.
        public let step: Int
        /// How many steps there will be, if that is known.
        public let stepCount: Int?
        /// How much is done, from 0 to 1.
        public let share: Double
        /// The last step's loss in nats.
        public let loss: Double
        /// The last loss measured on examples kept back, in nats.
        public let validationLoss: Double?
        /// Tokens learned from, per second.
        public let tokensPerSecond: Double
        /// Seconds to go, estimated.
        public let secondsLeft: Double
    }

    /// How a run ended.
    public struct Outcome: Sendable {
        /// Steps made in all.
        public let stepCount: Int
        /// Whether it was stopped before its end; a checkpoint was written then.
        public let isInterrupted: Bool
        /// The loss of the last step, in nats; `nil` where there was none to make.
        public let loss: Double?
        /// The loss on examples kept back, in nats; `nil` where there are none.
        public let validationLoss: Double?
    }

    /// The settings, defaults filled in.
    public private(set) var settings: TrainingSettings
    /// What to tell whoever began the run.
    public private(set) var notes: [String] = []
    /// How many numbers the model learns.
    public var parameterCount: Int { model.parameterCount }
    /// The number of tokens that there are.
    public let vocabularySize: Int
    /// How many tokens there are to learn from.
    public var tokenCount: Int { training.tokenCount }

    private let folder: ModelFolder
    private let checkpoints: CheckpointFolder
    private var model: any SequenceModel
    private let training: TrainingExamples
    private let heldOut: TrainingExamples
    private let endToken: Int
    private var start: Start?

    /// What a checkpoint holds beside the parameters.
    private struct Start {
        var stepCount = 0
        var elapsedSeconds = 0.0
        var moments: [[Tensor]] = []
    }

    /// Reads the corpus, learns or reads the tokenizer and makes the model, or reads its newest whole checkpoint.
    ///
    /// - Parameters:
    ///   - request: What is asked for.
    ///   - output: The run's folder, made if it is absent.
    ///   - isResumed: Whether to go on with the run in the folder; one that has not begun is begun.
    ///   - standardInput: What the caller has read from standard input, for a corpus named `-`.
    /// - Throws: `TrainingRunError`.
    public init(
        _ request: TrainingRequest, output: String, isResumed: Bool, standardInput: [UInt8] = []
    ) throws(TrainingRunError) {
        folder = ModelFolder(path: output)
        checkpoints = CheckpointFolder(folder.checkpointsPath)
        let stored = try Self.storedSettings(in: folder)
        if stored != nil && !isResumed { throw .folderHasRun(path: output) }
        if stored == nil { try Self.requireUnused(folder, checkpoints) }
        var request = request
        if request.corpus.isEmpty { request.corpus = stored?.corpus ?? [] }
        if request.corpus.contains("-") && standardInput.isEmpty {
            throw .invalidSettings(reason: "the corpus is standard input, which is empty: pipe it in, and name it as -")
        }
        if let problem = request.problem { throw .invalidSettings(reason: problem) }
        let corpus: Corpus
        do {
            corpus = try Corpus(request.corpus, standardInput: standardInput)
        } catch {
            throw .corpus(error)
        }
        let tokenizer: any TextTokenizer
        if let stored {
            (settings, tokenizer) = (stored, try Self.storedTokenizer(in: folder))
            var differences = stored.differences(from: request, readsPairs: corpus.arePairs)
            func compare(_ name: String, _ stored: String, _ found: String) {
                if stored == found { return }
                differences.append(TrainingRunError.Difference(name: name, stored: stored, requested: found))
            }
            compare("corpus (fingerprint)", stored.corpusFingerprint, corpus.fingerprint.description)
            compare("tokenizer.json (fingerprint)", stored.tokenizerFingerprint, tokenizer.fingerprint.description)
            guard differences.isEmpty else { throw .differs(path: output, differences) }
            settings.validationInterval = request.validationInterval ?? stored.validationInterval
            settings.checkpointInterval = request.checkpointInterval ?? stored.checkpointInterval
            if let problem = settings.problem { throw .invalidSettings(reason: problem) }
        } else {
            settings = TrainingSettings(request, corpus: corpus)
            if let problem = settings.problem { throw .invalidSettings(reason: problem) }
            tokenizer = try Self.tokenizer(&settings.tokenizer, isChosen: request.tokenizer != nil, from: corpus)
            settings.tokenizerFingerprint = tokenizer.fingerprint.description
        }
        vocabularySize = tokenizer.vocabularySize
        endToken = tokenizer.endOfSequenceID.map(Int.init) ?? 0
        let examples = try Self.examples(of: corpus, tokenizer, endToken: endToken)
        var random = RandomStream(seed: settings.seed).stream(for: 0)
        if case .pairs(let pairs) = examples {
            try Self.fit(&settings, to: pairs, isExtended: stored == nil && request.contextLength == nil)
        }
        let configuration = settings.configuration(vocabularySize: vocabularySize)
        if let problem = configuration.problem { throw .invalidSettings(reason: problem) }
        let description = ModelDescription(configuration, prompting: corpus.arePairs ? .pairs : .text)
        // Before the model is made, which may be large.
        (training, heldOut) = try Self.split(examples, settings, notes: &notes)
        if stored != nil { try Self.requireDescription(description, in: folder) }
        if let problem = Self.memoryProblem(configuration) { throw .invalidSettings(reason: problem) }
        model = configuration.model(random: &random)
        if stored == nil {
            try begin(tokenizer, description)
        } else {
            try readCheckpoint()
        }
    }

    /// Trains to the end, or until it is told to stop.
    ///
    /// - Parameters:
    ///   - shouldStop: Asked after every step.
    ///   - onProgress: Told after every step.
    /// - Returns: How it ended.
    /// - Throws: `TrainingRunError`; the newest checkpoint stands.
    public mutating func run(
        shouldStop: () -> Bool = { false }, onProgress: (Progress) -> Void = { _ in }
    ) throws(TrainingRunError) -> Outcome {
        let (outcome, trained) = try train(model, shouldStop, onProgress)
        model = trained
        start = nil
        return outcome
    }

    private func train<Model: SequenceModel>(
        _ model: Model, _ shouldStop: () -> Bool, _ onProgress: (Progress) -> Void
    ) throws(TrainingRunError) -> (Outcome, any SequenceModel) {
        let start = start ?? Start()
        let plan = settings.plan
        var trainer = Trainer(
            model, plan: plan,
            optimizer: Optimizer(plan.optimizer, stepCount: start.stepCount, moments: start.moments))
        let sampler = sampler(training, hasEncoder: model.readsSource)
        let evaluation =
            heldOut.tokenCount == 0
            ? [] : self.sampler(heldOut, hasEncoder: model.readsSource).evaluationBatches(maximumCount: 16)
        let descriptions = try descriptions()
        let log = try RunLog(folder: folder.path, resumingFrom: self.start?.stepCount)
        let clock = ContinuousClock()
        let began = clock.now
        func elapsed() -> Double { start.elapsedSeconds + (clock.now - began).seconds }
        func share(_ step: Double) -> Double {
            if let minutes = settings.minutes { return elapsed() / (60 * minutes) }
            return step / Double(settings.stepCount ?? 1)
        }
        var (loss, validationLoss): (Double?, Double?) = (nil, nil)
        var (learned, lastCheckpoint) = (0, clock.now)
        var isInterrupted = false
        // Asked once a step: where minutes count, a second answer may differ.
        var isOver = share(Double(trainer.stepCount)) >= 1
        while !isOver && !isInterrupted {
            let report: Trainer<Model>.Report
            do {
                // The middle of the step, so that neither the first nor the last has a learning rate of 0.
                report = try trainer.step(from: sampler, progress: share(Double(trainer.stepCount) + 0.5))
            } catch {
                throw .training(error, checkpointStep: (try? checkpoints.steps())?.first)
            }
            loss = report.loss
            learned += report.tokenCount
            let done = share(Double(report.step))
            isOver = done >= 1
            if report.step % settings.validationInterval == 0 || isOver {
                validationLoss = trainer.loss(on: evaluation)
                if let validationLoss { try log.write(step: report.step, [("validation/loss", validationLoss)]) }
            }
            let seconds = max(1e-9, (clock.now - began).seconds)
            try log.write(report, tokensPerSecond: Double(learned) / seconds)
            onProgress(
                Progress(
                    step: report.step, stepCount: settings.stepCount, share: min(1, done), loss: report.loss,
                    validationLoss: validationLoss, tokensPerSecond: Double(learned) / seconds,
                    secondsLeft: secondsLeft(trainer.stepCount - start.stepCount, seconds, elapsed())))
            isInterrupted = shouldStop() && !isOver
            let isDue =
                report.step % settings.checkpointInterval == 0 || (clock.now - lastCheckpoint).seconds >= 60
            if isDue || isInterrupted || isOver {
                try log.synchronize()
                try save(trainer, elapsedSeconds: elapsed(), descriptions)
                lastCheckpoint = clock.now
            }
        }
        if !isInterrupted {
            try writeModel(trainer.model)
            if validationLoss == nil { validationLoss = trainer.loss(on: evaluation) }
        }
        let outcome = Outcome(
            stepCount: trainer.stepCount, isInterrupted: isInterrupted, loss: loss, validationLoss: validationLoss)
        return (outcome, trainer.model)
    }

    private func secondsLeft(_ steps: Int, _ seconds: Double, _ elapsed: Double) -> Double {
        if let minutes = settings.minutes { return max(0, 60 * minutes - elapsed) }
        let left = (settings.stepCount ?? 0) - (start?.stepCount ?? 0) - steps
        return seconds / Double(max(1, steps)) * Double(max(0, left))
    }

    private func sampler(_ examples: TrainingExamples, hasEncoder: Bool) -> BatchSampler {
        BatchSampler(
            examples, batchSize: settings.batchSize, length: settings.contextLength, hasEncoder: hasEncoder,
            endToken: endToken, seed: settings.seed)
    }

    // MARK: - Files

    private static func storedSettings(in folder: ModelFolder) throws(TrainingRunError) -> TrainingSettings? {
        let path = "\(folder.path)/run.json"
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        do {
            let file = try MappedFile(reading: path)
            let settings = try file.withUnsafeBytes { bytes throws in
                try JSONDecoder().decode(TrainingSettings.self, from: Data(bytes))
            }
            if let problem = settings.problem { throw TrainingRunError.unreadableRun(path: path, reason: problem) }
            return settings
        } catch let error as TrainingRunError {
            throw error
        } catch {
            throw .unreadableRun(path: path, reason: "\(error)")
        }
    }

    /// Throws where a folder without a run holds what a run would overwrite, or go on from by mistake.
    private static func requireUnused(
        _ folder: ModelFolder, _ checkpoints: CheckpointFolder
    ) throws(TrainingRunError) {
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder), !isFolder.boolValue {
            throw .unusableFolder(path: folder.path, reason: "it is a file")
        }
        let steps: [Int]
        do {
            steps = try checkpoints.steps()
        } catch {
            throw .checkpoint(error)
        }
        if !steps.isEmpty || FileManager.default.fileExists(atPath: folder.parametersPath) {
            throw .unusableFolder(
                path: folder.path, reason: "it holds \(steps.isEmpty ? "a model" : "checkpoints"), but no run.json")
        }
    }

    /// Throws where `config.json` tells of another model than `run.json`.
    private static func requireDescription(
        _ description: ModelDescription, in folder: ModelFolder
    ) throws(TrainingRunError) {
        let stored: ModelDescription
        do {
            stored = try folder.readDescription(parameterByteCount: .max)
        } catch {
            throw .model(error)
        }
        guard stored == description else {
            throw .unreadableRun(
                path: "\(folder.path)/run.json", reason: "it tells of another model than '\(folder.descriptionPath)'")
        }
    }

    private static func storedTokenizer(in folder: ModelFolder) throws(TrainingRunError) -> any TextTokenizer {
        do {
            return try TokenizerFile.read(folder.tokenizerPath)
        } catch {
            throw .tokenizerFile(error)
        }
    }

    /// Writes what describes the run; `run.json` last, whose presence says that the others stand.
    private func begin(
        _ tokenizer: any TextTokenizer, _ description: ModelDescription
    ) throws(TrainingRunError) {
        do {
            try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
        } catch {
            throw .unusableFolder(path: folder.path, reason: "it cannot be made (\(error.localizedDescription))")
        }
        do {
            try TokenizerFile.write(tokenizer, to: folder.tokenizerPath)
        } catch {
            throw .tokenizerFile(error)
        }
        do {
            try AtomicFile.write(try description.json.serialized() + [UInt8(ascii: "\n")], to: folder.descriptionPath)
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try AtomicFile.write(
                Array(try encoder.encode(settings)) + [UInt8(ascii: "\n")], to: "\(folder.path)/run.json")
        } catch let error as FileError {
            throw .file(error)
        } catch {
            throw .unreadableRun(path: folder.path, reason: "\(error)")
        }
    }

    /// What describes the run, for its checkpoints: each is a model's folder by itself.
    private func descriptions() throws(TrainingRunError) -> [CheckpointFolder.File] {
        do {
            return try [folder.descriptionPath, folder.tokenizerPath, "\(folder.path)/run.json"].map {
                path throws(FileError) in
                let file = try MappedFile(reading: path)
                let name = path.split(separator: "/").last.map(String.init) ?? path
                return CheckpointFolder.File(name, .bytes(file.withUnsafeBytes { Array($0) }))
            }
        } catch {
            throw .file(error)
        }
    }

    private func save<Model: SequenceModel>(
        _ trainer: Trainer<Model>, elapsedSeconds: Double, _ descriptions: [CheckpointFolder.File]
    ) throws(TrainingRunError) {
        let parameters = trainer.model.parameters
        let moments = trainer.optimizer.moments.enumerated().flatMap { index, tensors in
            zip(parameters, tensors).map { (name: "moment.\(index).\($0.name)", value: $1) }
        }
        var state = JSONObject()
        // The place in the examples and in the random numbers: both follow from the seed and the step.
        state.append("step", .integer(Int64(trainer.stepCount)))
        state.append("seed", .string(String(settings.seed)))
        // Only where time decides when the run ends: everything else is a function of the step.
        if settings.minutes != nil { state.append("elapsedSeconds", .number(elapsedSeconds)) }
        do {
            let bytes: [UInt8]
            do {
                bytes = try JSONValue.object(state).serialized()
            } catch {
                throw CheckpointError.notJSON(path: "state.json", error)
            }
            try checkpoints.write(
                step: trainer.stepCount,
                [
                    CheckpointFolder.File("model.safetensors", .tensors(ParameterFile.tensors(parameters))),
                    CheckpointFolder.File("optimizer.safetensors", .tensors(ParameterFile.tensors(moments))),
                    CheckpointFolder.File("state.json", .bytes(bytes)),
                ] + descriptions)
        } catch let error as CheckpointError {
            throw .checkpoint(error)
        } catch {
            throw .unreadableRun(path: checkpoints.path, reason: "\(error)")
        }
    }

    private func writeModel(_ model: some SequenceModel) throws(TrainingRunError) {
        do {
            try SafetensorsFile.write(tensors: ParameterFile.tensors(model.parameters), to: folder.parametersPath)
        } catch {
            throw .parameters(error)
        }
    }

    private mutating func readCheckpoint() throws(TrainingRunError) {
        let found: (checkpoint: CheckpointFolder.Checkpoint?, skipped: [CheckpointError])
        do {
            found = try checkpoints.newestReadable()
        } catch {
            throw .checkpoint(error)
        }
        for problem in found.skipped { notes.append("A checkpoint was skipped: \(problem)") }
        guard let checkpoint = found.checkpoint else {
            notes.append("There is no checkpoint to go on from: the run begins at its first step.")
            // What the logs hold of later steps is to be forgotten.
            start = Start()
            return
        }
        do {
            let state = try checkpoint.json("state.json")
            guard let step = state["step"]?.integerValue, step == Int64(checkpoint.step), 0...1 << 40 ~= step else {
                throw TrainingRunError.unreadableRun(
                    path: "\(checkpoint.path)/state.json", reason: "it does not name the checkpoint's step")
            }
            let names = model.parameters.map { (name: $0.name, shape: $0.value.shape) }
            let count = settings.plan.optimizer.momentCount
            let path = "\(checkpoint.path)/optimizer.safetensors"
            let moments = try ParameterFile.read(
                (0..<count).flatMap { index in names.map { (name: "moment.\(index).\($0.name)", shape: $0.shape) } },
                from: try checkpoint.tensors("optimizer.safetensors"), path: path)
            model = try replaced(model, try checkpoint.tensors("model.safetensors"), checkpoint.path)
            start = Start(
                stepCount: Int(step), elapsedSeconds: state["elapsedSeconds"]?.doubleValue ?? 0,
                moments: (0..<count).map { Array(moments[$0 * names.count..<($0 + 1) * names.count]) })
            notes.append("Going on after step \(step).")
        } catch let error as TrainingRunError {
            throw error
        } catch let error as CheckpointError {
            throw .checkpoint(error)
        } catch let error as PretrainedModelError {
            throw .model(error)
        } catch {
            throw .unreadableRun(path: checkpoint.path, reason: "\(error)")
        }
    }

    private func replaced(
        _ model: some SequenceModel, _ file: SafetensorsFile, _ path: String
    ) throws(PretrainedModelError) -> any SequenceModel {
        try ParameterFile.layer(model, from: file, path: "\(path)/model.safetensors")
    }

    /// What is wrong with a model that this machine cannot hold with its gradients and moments, or `nil`.
    private static func memoryProblem(_ configuration: TextModelConfiguration) -> String? {
        let (width, available) = (configuration.width, ProcessInfo.processInfo.physicalMemory)
        let positionCount = configuration.architecture == .transformer ? configuration.contextLength : 0
        let least = 16 * width * (configuration.layerCount * width + configuration.vocabularySize + positionCount)
        if least <= available { return nil }
        return
            "a model of this size needs at least \(least >> 20) MiB, and the machine has \(available >> 20); take a smaller "
            + "width, or fewer layers"
    }

    // MARK: - Examples

    /// Learns a tokenizer; where nobody has chosen one, one of as many tokens as the corpus supports.
    private static func tokenizer(
        _ choice: inout TokenizerChoice, isChosen: Bool, from corpus: Corpus
    ) throws(TrainingRunError) -> any TextTokenizer {
        do {
            switch choice {
            case .characters: return try CharacterTokenizer(corpus)
            case .bytePairs(let size):
                var trainer = try BytePairTrainer(vocabularySize: size)
                try trainer.add(corpus)
                return try trainer.train()
            }
        } catch let error as BytePairTrainingError {
            guard case .vocabularyTooLarge(_, let supported, _) = error, !isChosen else {
                throw .tokenizerTraining(error)
            }
            choice = .bytePairs(vocabularySize: supported)
            return try tokenizer(&choice, isChosen: true, from: corpus)
        } catch let error as TokenizerError {
            throw .tokenizer(error)
        } catch {
            throw .invalidSettings(reason: "\(error)")
        }
    }

    private static func examples(
        of corpus: Corpus, _ tokenizer: any TextTokenizer, endToken: Int
    ) throws(TrainingRunError) -> TrainingExamples {
        func tokens(_ text: MappedFile.Slice) throws(TrainingRunError) -> [Int] {
            do {
                return try tokenizer.encode(utf8: text.withUnsafeBytes { Array($0) }).map(Int.init)
            } catch {
                throw .tokenizer(error)
            }
        }
        switch corpus.contents {
        case .texts(let documents):
            var all: [Int] = []
            for document in documents { all += try tokens(document.text) + [endToken] }
            return .text(all)
        case .pairs(let pairs):
            return .pairs(
                try pairs.map { pair throws(TrainingRunError) in
                    TokenPair(source: try tokens(pair.source), target: try tokens(pair.target))
                })
        }
    }

    /// Makes the context as long as the longest pair needs, if it may be changed, and refuses pairs that are longer.
    private static func fit(
        _ settings: inout TrainingSettings, to pairs: [TokenPair], isExtended: Bool
    ) throws(TrainingRunError) {
        let hasEncoder = settings.architecture == .seq2seq
        let lengths = pairs.map { BatchSampler.length(of: $0, hasEncoder: hasEncoder) }
        guard let longest = lengths.indices.max(by: { lengths[$0] < lengths[$1] }) else { return }
        if isExtended {
            settings.contextLength = max(settings.contextLength, min(lengths[longest], 4096))
        }
        guard lengths[longest] <= settings.contextLength else {
            throw .pairTooLong(
                number: longest + 1, tokenCount: lengths[longest], contextLength: settings.contextLength)
        }
    }

    private static func split(
        _ examples: TrainingExamples, _ settings: TrainingSettings, notes: inout [String]
    ) throws(TrainingRunError) -> (TrainingExamples, TrainingExamples) {
        let hasEncoder = settings.architecture == .seq2seq
        var share = 0.1
        if case .text(let tokens) = examples {
            let needed = BatchSampler.minimumTokenCount(length: settings.contextLength, hasEncoder: hasEncoder)
            guard tokens.count >= needed else {
                throw .corpusTooShort(
                    tokenCount: tokens.count, needed: needed, contextLength: settings.contextLength)
            }
            // One window at least is kept back, if one is left to learn from.
            share = tokens.count >= 2 * needed ? max(share, (Double(needed) + 0.5) / Double(tokens.count)) : 0
        }
        let parts = examples.split(heldOut: share, seed: settings.seed)
        guard parts.training.tokenCount > 0, parts.heldOut.tokenCount > 0 else {
            notes.append("The corpus is too short to keep a part of it back: there is no validation loss.")
            return (examples, .pairs([]))
        }
        return parts
    }
}

/// How a run goes, in a file of JSON lines and in TensorBoard's events.
private struct RunLog {
    private let metrics: MetricsWriter
    private let events: TensorBoardEventWriter

    /// Opens both; `step` is that of the checkpoint that the run goes on from, and `nil` begins anew.
    init(folder: String, resumingFrom step: Int?) throws(TrainingRunError) {
        (metrics, events) = try Self.logging {
            (
                try MetricsWriter("\(folder)/metrics.jsonl", resumingFrom: step),
                try TensorBoardEventWriter(folder: "\(folder)/events", resumingFrom: step)
            )
        }
    }

    func write<Model>(_ report: Trainer<Model>.Report, tokensPerSecond: Double) throws(TrainingRunError) {
        try write(
            step: report.step,
            [
                ("training/loss", report.loss), ("training/gradient norm", report.gradientNorm),
                ("training/learning rate", report.learningRate), ("training/tokens per second", tokensPerSecond),
            ])
    }

    func write(step: Int, _ values: [(name: String, value: Double)]) throws(TrainingRunError) {
        try Self.logging {
            try metrics.write(step: step, values)
            try events.write(step: step, values)
        }
    }

    func synchronize() throws(TrainingRunError) {
        try Self.logging {
            try metrics.synchronize()
            try events.synchronize()
        }
    }

    /// Returns what `body` returns; what it throws becomes the run's error.
    private static func logging<Result>(_ body: () throws -> Result) throws(TrainingRunError) -> Result {
        do {
            return try body()
        } catch let error as MetricsError {
            throw .metrics(error)
        } catch let error as FileError {
            throw .file(error)
        } catch {
            throw .invalidSettings(reason: "\(error)")
        }
    }
}

extension Corpus {
    fileprivate var arePairs: Bool { if case .pairs = contents { true } else { false } }
}

extension Duration {
    fileprivate var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
