/// A GGUF file that cannot be used, with the place of the fault.
public struct GGUFError: Error, Equatable, CustomStringConvertible {
    /// What went wrong.
    public enum Problem: Equatable, Sendable {
        /// The file could not be opened or read.
        case unreadable(FileError)
        /// The file does not begin with `GGUF`.
        case wrongMagic(found: [UInt8])
        /// The version is one that is not read here.
        case unsupportedVersion(UInt32)
        /// The version makes sense only with its bytes swapped: the file is big-endian.
        case bigEndian
        /// The file ends before what it promises.
        case truncated(reading: String, needed: UInt64, remaining: Int)
        /// A number of things that cannot fit into the rest of the file.
        case tooMany(what: String, count: UInt64, remaining: Int)
        /// A length beyond the format's limit.
        case overLimit(what: String, count: UInt64, limit: Int)
        /// A key without characters.
        case emptyKey
        /// A key with characters other than printable ASCII.
        case keyNotASCII
        /// A key that occurs twice.
        case duplicateKey(String)
        /// A value type that the format does not have.
        case unknownValueType(key: String, type: UInt32)
        /// A Boolean byte other than 0 and 1.
        case notBoolean(key: String, byte: UInt8)
        /// Arrays within arrays, deeper than the limit.
        case nestedTooDeeply(key: String, limit: Int)
        /// A key that was asked for and is absent.
        case missingKey(String)
        /// A key whose value is of another type than the one asked for.
        case wrongType(key: String, wanted: String, found: String)
        /// A key whose value is of the right type but not within the range.
        case outOfRange(key: String, value: String, wanted: String)
        /// A string that is not UTF-8.
        case notUTF8(String)
        /// A tensor without a name.
        case emptyTensorName
        /// A tensor name that occurs twice.
        case duplicateTensor(String)
        /// A tensor that was asked for and is absent.
        case missingTensor(String)
        /// A tensor with more dimensions than the format allows.
        case tooManyDimensions(tensor: String, count: UInt32)
        /// A tensor whose size overflows.
        case sizeOverflow(tensor: String)
        /// A tensor of a type that is known but not read here.
        case unsupportedTensorType(tensor: String, type: String)
        /// A tensor of a type that nobody knows.
        case unknownTensorType(tensor: String, identifier: UInt32)
        /// A tensor whose rows are not whole blocks.
        case partialBlock(tensor: String, rowLength: Int, blockLength: Int)
        /// A tensor that does not begin where the one before it ends.
        case wrongTensorOffset(tensor: String, offset: UInt64, expected: Int)
        /// A tensor that goes beyond the end of the file.
        case tensorOutOfBounds(tensor: String, needed: Int, available: Int)
    }

    /// The file's path.
    public let path: String
    /// The offset in bytes from the file's beginning, where one is to blame.
    public let offset: Int?
    /// What went wrong.
    public let problem: Problem

    init(path: String, offset: Int? = nil, problem: Problem) {
        self.path = path
        self.offset = offset
        self.problem = problem
    }

    /// What went wrong, where, and what to try.
    public var description: String {
        if case .unreadable(let error) = problem { return error.description }
        let place = offset.map { ", at byte \($0)" } ?? ""
        return "GGUF file '\(path)'\(place): \(explanation)"
    }

    private var explanation: String {
        let damaged = "The file is damaged or was not fetched whole; fetch it again."
        let malformed = "The file breaks the GGUF format; fetch it again, or from another source."
        switch problem {
        case .unreadable(let error):
            return error.description
        case .wrongMagic(let found):
            return "it begins with the bytes \(found), not with 'GGUF'. Name a GGUF file."
        case .unsupportedVersion(let version):
            return "it has version \(version); versions 2 and 3 are read. Convert the model again with a "
                + "current llama.cpp."
        case .bigEndian:
            return "it is big-endian; little-endian files are read. Fetch the little-endian variant."
        case .truncated(let what, let needed, let remaining):
            return "\(what) needs \(needed) bytes, but \(remaining) remain. \(damaged)"
        case .tooMany(let what, let count, let remaining):
            return "\(count) \(what) cannot fit into the remaining \(remaining) bytes. \(damaged)"
        case .overLimit(let what, let count, let limit):
            return "\(what) has length \(count), and at most \(limit) is allowed. \(malformed)"
        case .emptyKey:
            return "a metadata key is empty. \(malformed)"
        case .keyNotASCII:
            return "a metadata key has characters other than printable ASCII. \(malformed)"
        case .duplicateKey(let key):
            return "the metadata key '\(key)' occurs twice. \(malformed)"
        case .unknownValueType(let key, let type):
            return "the value of '\(key)' has type \(type), which the format does not have. \(malformed)"
        case .notBoolean(let key, let byte):
            return "a Boolean of '\(key)' is \(byte), neither 0 nor 1. \(malformed)"
        case .nestedTooDeeply(let key, let limit):
            return "the arrays of '\(key)' nest deeper than \(limit). \(malformed)"
        case .missingKey(let key):
            return "the metadata key '\(key)' is missing. Use a file that llama.cpp converted for this kind "
                + "of model."
        case .wrongType(let key, let wanted, let found):
            return "the value of '\(key)' is of type \(found), but \(wanted) is wanted. Use a file that "
                + "llama.cpp converted for this kind of model."
        case .outOfRange(let key, let value, let wanted):
            return "the value of '\(key)' is \(value), but \(wanted) is wanted. \(malformed)"
        case .notUTF8(let what):
            return "\(what) is not UTF-8. \(malformed)"
        case .emptyTensorName:
            return "a tensor has no name. \(malformed)"
        case .duplicateTensor(let name):
            return "the tensor name '\(name)' occurs twice. \(malformed)"
        case .missingTensor(let name):
            return "the tensor '\(name)' is missing. Use a file of the model's whole weights, not a part."
        case .tooManyDimensions(let tensor, let count):
            return "the tensor '\(tensor)' has \(count) dimensions, and at most 4 are allowed. \(malformed)"
        case .sizeOverflow(let tensor):
            return "the size of the tensor '\(tensor)' overflows. \(malformed)"
        case .unsupportedTensorType(let tensor, let type):
            return "the tensor '\(tensor)' is of type \(type), which is not read here. "
                + Self.supportedTypes
        case .unknownTensorType(let tensor, let identifier):
            return "the tensor '\(tensor)' is of the unknown type \(identifier). " + Self.supportedTypes
        case .partialBlock(let tensor, let rowLength, let blockLength):
            return "the rows of the tensor '\(tensor)' have \(rowLength) elements, not a multiple of the "
                + "block length \(blockLength). \(malformed)"
        case .wrongTensorOffset(let tensor, let offset, let expected):
            return "the tensor '\(tensor)' begins at byte \(offset) of the data, but \(expected) is where "
                + "the one before it ends. \(malformed)"
        case .tensorOutOfBounds(let tensor, let needed, let available):
            return "the tensor '\(tensor)' ends \(needed) bytes into the data, which has \(available). "
                + damaged
        }
    }

    private static var supportedTypes: String {
        "Use a file with only \(GGUFFile.TensorType.allCases.map(\.name).joined(separator: ", "))."
    }
}
