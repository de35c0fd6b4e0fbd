/// Texts from which the vocabulary that was asked for cannot be learned.
public enum BytePairTrainingError: Error, Equatable, CustomStringConvertible {
    /// A vocabulary without room for the 256 bytes and the end of a text.
    case vocabularyTooSmall(requested: Int, minimum: Int)
    /// A vocabulary of more tokens than the texts have pairs for.
    case vocabularyTooLarge(requested: Int, supported: Int, minimumPairCount: Int)
    /// There is no text.
    case emptyCorpus
    /// A text that is not UTF-8.
    case invalidUTF8(offset: Int)
    /// The texts' distinct words have more bytes than can be numbered.
    case tooManyDistinctBytes(limit: Int)
    /// The vocabulary makes no tokenizer.
    case tokenizer(TokenizerError)

    /// What went wrong, where, and what to try.
    public var description: String {
        switch self {
        case .vocabularyTooSmall(let requested, let minimum):
            return "A vocabulary of \(requested) tokens has no room for the 256 bytes and the end of a text. "
                + "Ask for \(minimum) or more."
        case .vocabularyTooLarge(let requested, let supported, let minimumPairCount):
            return "The corpus supports a vocabulary of \(supported) tokens, but \(requested) are asked for: after "
                + "\(supported - BytePairTrainer.minimumVocabularySize) merges no pair of tokens occurs "
                + "\(minimumPairCount) times. Ask for at most \(supported), or give more text."
        case .emptyCorpus:
            return "There is no text to learn a vocabulary from. Give a text that is not empty."
        case .invalidUTF8(let offset):
            return "The text is not UTF-8 at byte \(offset). Convert it to UTF-8."
        case .tooManyDistinctBytes(let limit):
            return "The distinct words of the texts have more than \(limit) bytes. Learn from a part of them."
        case .tokenizer(let error):
            return error.description
        }
    }
}
