public import ModelFiles
public import SequenceModels

/// A training run that cannot begin, or cannot go on.
///
/// What was saved before stands.
public enum TrainingRunError: Error, CustomStringConvertible {
    /// A setting of a run that is not what was asked for.
    public struct Difference: Sendable, Hashable {
        /// Which setting.
        public let name: String
        /// What the run has.
        public let stored: String
        /// What was asked for.
        public let requested: String
    }

    /// The settings make no sense.
    case invalidSettings(reason: String)
    /// The folder holds a run already.
    case folderHasRun(path: String)
    /// A run is resumed with other settings, another tokenizer or another corpus.
    case differs(path: String, [Difference])
    /// The run's description cannot be read.
    case unreadableRun(path: String, reason: String)
    /// The run's folder cannot be made, or holds something else.
    case unusableFolder(path: String, reason: String)
    /// The corpus cannot be read.
    case corpus(CorpusError)
    /// The corpus has fewer tokens than one window.
    case corpusTooShort(tokenCount: Int, needed: Int, contextLength: Int)
    /// A pair has more tokens than are read at once.
    case pairTooLong(number: Int, tokenCount: Int, contextLength: Int)
    /// A tokenizer cannot be learned from the corpus.
    case tokenizerTraining(BytePairTrainingError)
    /// The corpus cannot be turned into tokens.
    case tokenizer(TokenizerError)
    /// The tokenizer cannot be read or written.
    case tokenizerFile(TokenizerFileError)
    /// A checkpoint cannot be read or written.
    case checkpoint(CheckpointError)
    /// A file cannot be written.
    case file(FileError)
    /// The parameters cannot be written.
    case parameters(SafetensorsError)
    /// The metrics cannot be written.
    case metrics(MetricsError)
    /// A checkpoint is not of this model.
    case model(PretrainedModelError)
    /// Training went astray; the newest checkpoint is of `checkpointStep`, if there is one.
    case training(TrainingError, checkpointStep: Int?)

    /// What went wrong, where, and what to try.
    public var description: String {
        switch self {
        case .invalidSettings(let reason): return "The training cannot be made: \(reason.withoutFullStop)."
        case .folderHasRun(let path):
            return "'\(path)' holds a training run already. Go on with it with --resume, or name another folder."
        case .differs(let path, let differences):
            let list = differences.map { "  \($0.name): \($0.stored) there, \($0.requested) asked for" }
            return "The run in '\(path)' cannot be resumed with other settings:\n\(list.joined(separator: "\n"))\n"
                + "Leave them out to go on as it was, or name another folder to begin anew."
        case .unreadableRun(let path, let reason):
            return "The run's description '\(path)' cannot be used: \(reason.withoutFullStop). "
                + "Begin anew in another folder."
        case .unusableFolder(let path, let reason):
            return "The folder '\(path)' cannot be used: \(reason.withoutFullStop). Name another."
        case .corpus(let error): return error.description
        case .corpusTooShort(let tokenCount, let needed, let contextLength):
            return "The corpus has \(tokenCount) tokens, but one window of context \(contextLength) needs \(needed). "
                + "Give more text, or a smaller --context."
        case .pairTooLong(let number, let tokenCount, let contextLength):
            return "Pair \(number) takes \(tokenCount) tokens, but \(contextLength) are read at once. Leave it out, or "
                + "give --context \(tokenCount)."
        case .tokenizerTraining(let error): return error.description
        case .tokenizer(let error): return error.description
        case .tokenizerFile(let error): return error.description
        case .checkpoint(let error): return error.description
        case .file(let error): return error.description
        case .parameters(let error): return error.description
        case .metrics(let error): return error.description
        case .model(let error): return error.description
        case .training(let error, let step):
            return error.description
                + (step.map { " The checkpoint of step \($0) stands." } ?? " There is no checkpoint yet.")
        }
    }
}
