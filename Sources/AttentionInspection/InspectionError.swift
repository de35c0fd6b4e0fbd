/// A sentence, target, layer or head that cannot be explained.
public enum InspectionError: Error, Equatable, CustomStringConvertible {
    /// The sentence has no word.
    case emptySentence
    /// The sentence has more tokens than the model was trained to see at once.
    case sentenceTooLong(tokenCount: Int, contextLength: Int)
    /// The target is not among the words.
    case targetNotFound(target: String, words: [String])
    /// The target occurs more than once.
    case ambiguousTarget(target: String, positions: [Int])
    /// A target was named in a text that the model reads as a whole.
    case noTargetInSource(target: String)
    /// The layer does not exist.
    case layerOutOfRange(layer: Int, layerCount: Int)
    /// The head does not exist.
    case headOutOfRange(head: Int, headCount: Int)
    /// A head was named without its layer, or a layer without a head where both are needed.
    case incompleteHead(reason: String)
    /// The model's own numbers are not finite.
    case notFinite(place: String)
    /// The text cannot be turned into tokens.
    case tokenizer(String)
    /// A part of what is to be looked at has a value that it cannot have.
    case invalidState(name: String, value: String, wanted: String)
    /// A view shows one head, and none was named.
    case viewNeedsHead(view: String)
    /// Whoever asked no longer wants the answer.
    case cancelled

    /// What was wrong, and what to try.
    public var description: String {
        switch self {
        case .emptySentence:
            return "The sentence is empty. Give one with at least one word, such as \"The FBI is chasing\"."
        case .sentenceTooLong(let tokenCount, let contextLength):
            return "The sentence has \(tokenCount) tokens, but the model sees at most \(contextLength) at once. "
                + "Shorten it, or take a model with a longer context."
        case .targetNotFound(let target, let words):
            let shown = words.prefix(30).enumerated().map { "\($0) \($1)" }.joined(separator: ", ")
            let more = words.count > 30 ? ", … up to \(words.count - 1)" : ""
            return "The target '\(target)' is not in the sentence. Its words, by position: \(shown)\(more)."
        case .ambiguousTarget(let target, let positions):
            return "'\(target)' occurs \(positions.count) times, at positions "
                + "\(positions.map(String.init).joined(separator: ", ")). Give one of these as the target, such as "
                + "#\(positions.last ?? 0)."
        case .noTargetInSource(let target):
            return
                "The target '\(target)' was named, but the model is an encoder–decoder: it reads the whole text before "
                + "it writes. Leave the target out."
        case .layerOutOfRange(let layer, let layerCount):
            return "There is no layer \(layer): the model's layers count from 0 to \(layerCount - 1)."
        case .headOutOfRange(let head, let headCount):
            return "There is no head \(head): the model's heads count from 0 to \(headCount - 1)."
        case .incompleteHead(let reason): return reason
        case .notFinite(let place):
            return "The model's numbers are not finite (\(place)). The model file is damaged; fetch it again."
        case .tokenizer(let message): return message
        case .invalidState(let name, let value, let wanted):
            return "'\(name)' is '\(value.prefix(80))'; it must be \(wanted)."
        case .viewNeedsHead(let view):
            return "The view '\(view)' shows one head: name its layer and its head, such as layer 0 and head 0."
        case .cancelled: return "The question was taken back before it was answered."
        }
    }
}

extension InspectionError {
    static func headWithoutLayer(_ head: Int) -> InspectionError {
        .incompleteHead(reason: "Head \(head) of which layer? Name the layer as well.")
    }
}
