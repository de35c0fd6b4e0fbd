/// A safetensors file that cannot be used or written, with the place of the fault.
public struct SafetensorsError: Error, Equatable, CustomStringConvertible {
    /// What went wrong.
    public enum Problem: Equatable, Sendable {
        /// The file could not be opened, read or written.
        case fileFailed(FileError)
        /// The file is shorter than the 8 bytes of the header's length.
        case tooShort(byteCount: Int)
        /// The header claims more bytes than the limit.
        case headerTooLong(byteCount: UInt64)
        /// The header claims more bytes than the file has.
        case headerOutOfBounds(byteCount: UInt64, remaining: Int)
        /// The header does not begin with `{`.
        case headerNotObject
        /// The header is not JSON; the error's offset counts from the header's beginning.
        case headerNotJSON(JSONError)
        /// `__metadata__` is not an object of strings.
        case metadataNotStrings(key: String?)
        /// The index of several files is not JSON.
        case indexNotJSON(JSONError)
        /// The index of several files lacks something, or something in it is malformed.
        case malformedIndex(wanted: String)
        /// The index names a file by more than a plain name.
        case fileOutsideFolder(String)
        /// A file holds a tensor that the index does not name.
        case notInIndex(tensor: String)
        /// A tensor's entry lacks a field, or the field is malformed.
        case malformedField(tensor: String, field: String, wanted: String)
        /// A tensor of a type that is not read here.
        case unsupportedElementType(tensor: String, type: String)
        /// A tensor whose size overflows.
        case sizeOverflow(tensor: String)
        /// A tensor whose shape and type ask for other bytes than it has.
        case wrongByteCount(tensor: String, expected: Int, found: Int)
        /// A tensor that ends before it begins.
        case offsetsReversed(tensor: String, begin: Int, end: Int)
        /// A tensor that leaves a hole behind the one before it, or overlaps with it.
        case notContiguous(tensor: String, begin: Int, expected: Int)
        /// The tensors end before or after the file does.
        case wrongDataLength(expected: Int, found: Int)
        /// A tensor that was asked for and is absent.
        case missingTensor(String)
        /// A name that was to be written twice.
        case duplicateName(String)
        /// A name that the format keeps for itself.
        case reservedName(String)
    }

    /// The file's path.
    public let path: String
    /// What went wrong.
    public let problem: Problem

    /// What went wrong, where, and what to try.
    public var description: String {
        if case .fileFailed(let error) = problem { return error.description }
        return "safetensors file '\(path)': \(explanation)"
    }

    private var explanation: String {
        let damaged = "The file is damaged or was not fetched whole; fetch it again."
        let malformed = "The file breaks the safetensors format; write it again with a current library."
        switch problem {
        case .fileFailed(let error):
            return error.description
        case .tooShort(let byteCount):
            return "it has \(byteCount) bytes, fewer than the 8 of a header's length. \(damaged)"
        case .headerTooLong(let byteCount):
            return "the header claims \(byteCount) bytes, and at most "
                + "\(SafetensorsFile.maximumHeaderByteCount) are allowed. Name a safetensors file."
        case .headerOutOfBounds(let byteCount, let remaining):
            return "the header claims \(byteCount) bytes, but \(remaining) remain. \(damaged)"
        case .headerNotObject:
            return "the header does not begin with '{' at byte 8. Name a safetensors file."
        case .headerNotJSON(let error):
            return "the header, from byte 8 on, is malformed: \(error) \(damaged)"
        case .metadataNotStrings(let key):
            let place = key.map { "the value of '\($0)' in __metadata__" } ?? "__metadata__"
            return "\(place) is not \(key == nil ? "an object of strings" : "a string"). \(malformed)"
        case .indexNotJSON(let error):
            return "the index is malformed: \(error) \(damaged)"
        case .malformedIndex(let wanted):
            return "the index has not \(wanted). \(malformed)"
        case .fileOutsideFolder(let name):
            return "the index names the file '\(name)', and only plain names of files beside it are read. \(malformed)"
        case .notInIndex(let tensor):
            return "a file holds the tensor '\(tensor)', which the index does not name. \(malformed)"
        case .malformedField(let tensor, let field, let wanted):
            return "the field '\(field)' of the tensor '\(tensor)' is not \(wanted). \(malformed)"
        case .unsupportedElementType(let tensor, let type):
            let names = SafetensorsFile.ElementType.allCases.map(\.rawValue).joined(separator: ", ")
            return "the tensor '\(tensor)' is of type \(type), which is not read here. "
                + "Convert it to one of \(names)."
        case .sizeOverflow(let tensor):
            return "the size of the tensor '\(tensor)' overflows. \(malformed)"
        case .wrongByteCount(let tensor, let expected, let found):
            return "the shape and type of the tensor '\(tensor)' ask for \(expected) bytes, but it has "
                + "\(found). \(malformed)"
        case .offsetsReversed(let tensor, let begin, let end):
            return "the tensor '\(tensor)' begins at byte \(begin) of the data and ends before it, at "
                + "\(end). \(malformed)"
        case .notContiguous(let tensor, let begin, let expected):
            return "the tensor '\(tensor)' begins at byte \(begin) of the data, but the one before it ends "
                + "at \(expected). \(malformed)"
        case .wrongDataLength(let expected, let found):
            return "the tensors take \(expected) bytes, but \(found) follow the header. \(damaged)"
        case .missingTensor(let name):
            return "the tensor '\(name)' is missing. Use a file of the model's whole weights, not a part."
        case .duplicateName(let name):
            return "the name '\(name)' occurs twice. Rename one."
        case .reservedName(let name):
            return "the name '\(name)' is the format's own. Rename the tensor."
        }
    }
}
