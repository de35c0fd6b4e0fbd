/// A tokenizer that cannot be built, or a text or token that it cannot take.
public enum TokenizerError: Error, Equatable, CustomStringConvertible {
    /// The model file lacks what a tokenizer needs.
    case file(GGUFError)
    /// A tokenizer model that is not implemented.
    case unsupportedModel(String, supported: [String])
    /// A pre-tokenizer that is not implemented.
    case unsupportedPreTokenizer(String, supported: [String])
    /// A vocabulary without tokens.
    case emptyVocabulary
    /// A token's text that is not UTF-8.
    case tokenNotUTF8(id: Int)
    /// A text that two tokens have.
    case duplicateToken(text: String, firstID: Int, secondID: Int)
    /// As many token types as there are tokens are wanted.
    case tokenTypeCountMismatch(types: Int, tokens: Int)
    /// A token type that GGUF does not have.
    case unknownTokenType(id: Int, type: Int)
    /// A special token's ID that is not below the vocabulary's size.
    case specialTokenOutOfRange(key: String, id: Int64, vocabularySize: Int)
    /// A merge that is not two tokens with one space between them.
    case malformedMerge(index: Int, text: String)
    /// A merge whose part or result is not in the vocabulary.
    case mergeNotInVocabulary(index: Int, text: String, missing: String)
    /// A text that is not UTF-8.
    case invalidUTF8(offset: Int)
    /// A text beyond the limit.
    case textTooLong(byteCount: Int, limit: Int)
    /// A text that normalisation makes too long.
    case normalizedTextTooLong(limit: Int)
    /// A byte that has no token, in a vocabulary that has no unknown token either.
    case byteWithoutToken(byte: UInt8, offset: Int)
    /// A token ID that is negative or not below the vocabulary's size.
    case tokenIDOutOfRange(id: Int, vocabularySize: Int)
    /// There is no text to take characters from.
    case emptyCorpus
    /// A part of a tokenizer that `tokenizer.json` has no place for.
    case notWritable(String)

    /// What went wrong, where, and what to try.
    public var description: String {
        let malformed = "The model file is damaged; fetch it again, or from another source."
        switch self {
        case .file(let error):
            return error.description
        case .unsupportedModel(let name, let supported):
            return "The tokenizer model '\(name)' is not supported. Use a model with one of "
                + "\(supported.joined(separator: ", "))."
        case .unsupportedPreTokenizer(let name, let supported):
            return "The pre-tokenizer '\(name)' is not supported. Use a model with one of "
                + "\(supported.joined(separator: ", "))."
        case .emptyVocabulary:
            return "The vocabulary has no tokens. \(malformed)"
        case .tokenNotUTF8(let id):
            return "The text of token \(id) is not UTF-8. \(malformed)"
        case .duplicateToken(let text, let firstID, let secondID):
            return "The tokens \(firstID) and \(secondID) have the same text '\(text)'. \(malformed)"
        case .tokenTypeCountMismatch(let types, let tokens):
            return "There are \(types) token types for \(tokens) tokens. \(malformed)"
        case .unknownTokenType(let id, let type):
            return "Token \(id) has the unknown type \(type); types are 1 to 6. \(malformed)"
        case .specialTokenOutOfRange(let key, let id, let vocabularySize):
            return "'\(key)' is \(id), but IDs are below the vocabulary's size of \(vocabularySize). "
                + malformed
        case .malformedMerge(let index, let text):
            return "Merge \(index), '\(text)', is not two tokens with one space between them. \(malformed)"
        case .mergeNotInVocabulary(let index, let text, let missing):
            return "Merge \(index), '\(text)', needs the token '\(missing)', which the vocabulary lacks. "
                + malformed
        case .invalidUTF8(let offset):
            return "The text is not UTF-8 at byte \(offset). Convert it to UTF-8."
        case .textTooLong(let byteCount, let limit):
            return "The text has \(byteCount) bytes, and at most \(limit) are taken. Split it."
        case .normalizedTextTooLong(let limit):
            return "The text has more than \(limit) bytes once it is normalised. Split it."
        case .byteWithoutToken(let byte, let offset):
            return "The byte \(byte) at byte \(offset) of the text has no token, and the vocabulary has no "
                + "unknown token. Remove the character."
        case .tokenIDOutOfRange(let id, let vocabularySize):
            return "Token \(id) does not exist: the vocabulary has \(vocabularySize) tokens, from 0 on."
        case .emptyCorpus:
            return "There is no text to take the characters from. Give a text that is not empty."
        case .notWritable(let part):
            return "tokenizer.json has no place for \(part). Keep the file that the tokenizer was read from."
        }
    }
}
