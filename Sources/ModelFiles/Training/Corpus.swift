#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What a model is trained on: texts, or pairs of a source and its target, all of it UTF-8 and held in memory.
public struct Corpus: Sendable {
    /// A text, and where it comes from.
    public struct Document: Sendable {
        /// The file's path, or ``Corpus/standardInputName``.
        public let name: String
        /// UTF-8 without zero bytes; a byte-order mark in front is left out.
        public let text: MappedFile.Slice
    }

    /// A source and what is to become of it, neither of them empty.
    public struct Pair: Sendable {
        /// UTF-8.
        public let source: MappedFile.Slice
        /// UTF-8.
        public let target: MappedFile.Slice
    }

    /// Texts or pairs; a corpus is never of both.
    public enum Contents: Sendable {
        /// Texts in the order of their sources, at least one of them not empty.
        case texts([Document])
        /// Pairs in the order of their lines, at least one.
        case pairs([Pair])
    }

    /// The texts or pairs.
    public let contents: Contents
    /// What tells this corpus from every other: its texts and their borders, not where they come from.
    public let fingerprint: Fingerprint

    /// How messages call standard input.
    public static let standardInputName = "standard input"

    /// All texts; of pairs, each source and then its target.
    public var texts: [MappedFile.Slice] {
        switch contents {
        case .texts(let documents): documents.map(\.text)
        case .pairs(let pairs): pairs.flatMap { [$0.source, $0.target] }
        }
    }

    /// The number of bytes in all texts.
    public var byteCount: Int { texts.reduce(0) { $0 + $1.count } }

    /// Reads a corpus.
    ///
    /// A file whose name ends in `.jsonl` holds JSON lines, `{"source": "…", "target": "…"}`; further members and empty
    /// lines are passed over. So does standard input if its first line is an object with both members. Every other file
    /// is one text. A folder stands for all regular files in it and in the folders below, in the order of their paths;
    /// what has a name that begins with a point is left out, and so are folders of training runs; links to folders are not
    /// followed.
    ///
    /// - Parameters:
    ///   - sources: Paths of files and folders; `-` is standard input.
    ///   - standardInput: What the caller has read from standard input.
    /// - Throws: ``CorpusError`` when there is nothing, it is no text, or it cannot be read.
    public init(_ sources: [String], standardInput: [UInt8] = []) throws(CorpusError) {
        var files: [MappedFile] = []
        for source in sources {
            if source == "-" {
                files.append(MappedFile(bytes: standardInput, path: Self.standardInputName))
            } else {
                for path in try Self.files(under: source) { files.append(try Self.read(path)) }
            }
        }
        guard !files.isEmpty else { throw .nothingNamed }

        var documents: [Document] = []
        var pairs = PairReader()
        var firstPairs: String?
        for file in files {
            let text = try Self.checkedText(file)
            if Self.isJSONLines(file, text) {
                firstPairs = firstPairs ?? file.path
                try pairs.read(text)
            } else {
                documents.append(Document(name: file.path, text: text))
            }
        }
        if let firstPairs, let document = documents.first {
            throw .mixedKinds(text: document.name, pairs: firstPairs)
        }
        let contents = firstPairs == nil ? Contents.texts(documents) : .pairs(pairs.pairs())
        self.contents = contents
        fingerprint = Self.fingerprint(contents)
        if byteCount == 0 { throw .empty(sources: sources) }
    }

    /// Makes a corpus of one text that is in memory already.
    ///
    /// - Throws: ``CorpusError/empty(sources:)``, ``CorpusError/zeroByte(path:offset:)``.
    public init(text: String, name: String = "text in memory") throws(CorpusError) {
        let file = MappedFile(bytes: Array(text.utf8), path: name)
        contents = .texts([Document(name: name, text: try Self.checkedText(file))])
        fingerprint = Self.fingerprint(contents)
        if byteCount == 0 { throw .empty(sources: [name]) }
    }

    private static func fingerprint(_ contents: Contents) -> Fingerprint {
        var fingerprint: Fingerprint
        let texts: [MappedFile.Slice]
        switch contents {
        case .texts(let documents):
            fingerprint = Fingerprint(of: "texts".utf8)
            texts = documents.map(\.text)
        case .pairs(let pairs):
            fingerprint = Fingerprint(of: "pairs".utf8)
            texts = pairs.flatMap { [$0.source, $0.target] }
        }
        for text in texts {
            fingerprint.combine(text.count)
            text.withUnsafeBytes { fingerprint.combine(bytes: $0) }
        }
        return fingerprint
    }

    // MARK: - Files

    /// Returns the file itself, or those in the folder and below it.
    private static func files(under source: String) throws(CorpusError) -> [String] {
        do {
            switch try Folder.kind(of: source) {
            case .absent: throw CorpusError.notFound(path: source)
            case .file, .other: return [source]
            case .folder: break
            }
            var files: [String] = []
            var folders = [source]
            while let folder = folders.popLast() {
                let names = try Folder.names(in: folder)
                // A training run, perhaps on this very folder, is no text.
                if folder != source && names.contains("run.json") && names.contains("config.json") { continue }
                for name in names where !name.hasPrefix(".") {
                    let path = folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
                    switch try Folder.kind(of: path, followingLinks: false) {
                    case .folder: folders.append(path)
                    case .file: files.append(path)
                    // A link to a folder could lead back up.
                    case .other: if try Folder.kind(of: path) == .file { files.append(path) }
                    case .absent: break
                    }
                }
            }
            guard !files.isEmpty else { throw CorpusError.noFiles(folder: source) }
            return files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        } catch let error as CorpusError {
            throw error
        } catch let error as FileError {
            throw .unreadable(error)
        } catch {
            throw .notFound(path: source)
        }
    }

    private static func read(_ path: String) throws(CorpusError) -> MappedFile {
        do {
            return try MappedFile(reading: path)
        } catch {
            throw .unreadable(error)
        }
    }

    /// Returns the file's text without a byte-order mark, having made sure that it is text.
    private static func checkedText(_ file: MappedFile) throws(CorpusError) -> MappedFile.Slice {
        try file.withUnsafeBytes { bytes throws(CorpusError) in
            let zero = bytes.baseAddress.flatMap { start in
                memchr(start, 0, bytes.count).map { UnsafeRawPointer($0) - start }
            }
            let invalid = bytes.offsetOfInvalidUTF8
            if let zero, zero < invalid ?? .max { throw .zeroByte(path: file.path, offset: zero) }
            if let invalid { throw .invalidUTF8(path: file.path, offset: invalid) }
            return file.slice((bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0)..<bytes.count)
        }
    }

    private static func isJSONLines(_ file: MappedFile, _ text: MappedFile.Slice) -> Bool {
        guard file.path == standardInputName else { return file.path.hasSuffix(".jsonl") }
        return text.withUnsafeBytes { bytes in
            let line = bytes[..<(bytes.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count)]
            let value = try? JSONValue(parsing: UnsafeRawBufferPointer(rebasing: line))
            return value?["source"] != nil && value?["target"] != nil
        }
    }
}

/// Reads JSON lines, and keeps their strings one after another.
private struct PairReader {
    private var bytes: [UInt8] = []
    /// Where each source and each target ends, in turn.
    private var ends: [Int] = []

    mutating func read(_ text: MappedFile.Slice) throws(CorpusError) {
        try text.withUnsafeBytes { bytes throws(CorpusError) in
            var start = 0
            var number = 0
            while start < bytes.count {
                let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
                number += 1
                let line = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                start = end + 1
                if line.allSatisfy({ [0x20, 0x09, 0x0D].contains($0) }) { continue }
                try read(line, of: text.file.path, number: number)
            }
        }
    }

    private mutating func read(_ line: UnsafeRawBufferPointer, of path: String, number: Int) throws(CorpusError) {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: line)
        } catch {
            throw .lineNotJSON(path: path, line: number, error)
        }
        for field in ["source", "target"] {
            guard let string = value[field]?.stringValue, !string.isEmpty else {
                throw .lineNotPair(path: path, line: number, field: field)
            }
            bytes += string.utf8
            ends.append(bytes.count)
        }
    }

    func pairs() -> [Corpus.Pair] {
        let file = MappedFile(bytes: bytes, path: "the strings of JSON lines")
        var start = 0
        return stride(from: 0, to: ends.count, by: 2).map { index in
            defer { start = ends[index + 1] }
            return Corpus.Pair(
                source: file.slice(start..<ends[index]), target: file.slice(ends[index]..<ends[index + 1]))
        }
    }
}

/// A corpus that is not there, or is no text.
public enum CorpusError: Error, Equatable, CustomStringConvertible {
    /// No file, no folder, and not standard input either.
    case nothingNamed
    /// A path that names nothing.
    case notFound(path: String)
    /// A folder without a file that is not hidden.
    case noFiles(folder: String)
    /// Files and standard input without a single byte of text.
    case empty(sources: [String])
    /// A zero byte, which no text has.
    case zeroByte(path: String, offset: Int)
    /// Bytes that are not UTF-8.
    case invalidUTF8(path: String, offset: Int)
    /// A line that is not JSON; the error's offset counts from the line's beginning.
    case lineNotJSON(path: String, line: Int, JSONError)
    /// A line whose `source` or `target` is absent, no string, or empty.
    case lineNotPair(path: String, line: Int, field: String)
    /// Texts and JSON lines in one corpus.
    case mixedKinds(text: String, pairs: String)
    /// A file or folder that the system does not let be read.
    case unreadable(FileError)

    /// What went wrong, where, and what to try.
    public var description: String {
        switch self {
        case .nothingNamed:
            return "There is no corpus. Name a text file, a folder of them, or - for standard input."
        case .notFound(let path):
            return "There is no '\(path)'. Check the spelling."
        case .noFiles(let folder):
            return "The folder '\(folder)' has no files, hidden ones left out. Name another, or put text files into it."
        case .empty(let sources):
            return "The corpus is empty: \(sources.map { "'\($0)'" }.joined(separator: ", ")) has no text. "
                + "Name a file with some."
        case .zeroByte(let path, let offset):
            return "'\(path)' is no text: byte \(offset) is zero. Leave the file out, or convert it to UTF-8."
        case .invalidUTF8(let path, let offset):
            return "'\(path)' is no text in UTF-8: byte \(offset) is not valid. Leave the file out, or convert it, as "
                + "with iconv -t UTF-8."
        case .lineNotJSON(let path, let line, let error):
            return "'\(path)', line \(line), is not JSON: \(error) Each line is one object, "
                + #"{"source": "…", "target": "…"}."#
        case .lineNotPair(let path, let line, let field):
            return "'\(path)', line \(line): '\(field)' is not a string of at least one character. Each line is one "
                + #"object, {"source": "…", "target": "…"}."#
        case .mixedKinds(let text, let pairs):
            return "'\(text)' is a text, but '\(pairs)' holds pairs of source and target. Train on one kind at a time."
        case .unreadable(let error):
            return error.description
        }
    }
}

extension MappedFile.Slice {
    /// The bytes as text, with U+FFFD for each maximal part of a character that is not whole.
    public var string: String {
        withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}

extension BytePairTrainer {
    /// Counts the pieces of all texts of a corpus.
    ///
    /// - Throws: ``BytePairTrainingError/tooManyDistinctBytes(limit:)``.
    public mutating func add(_ corpus: Corpus) throws(BytePairTrainingError) {
        for text in corpus.texts {
            try text.withUnsafeBytes { bytes throws(BytePairTrainingError) in try add(utf8: bytes) }
        }
    }
}

extension CharacterTokenizer {
    /// Creates a tokenizer of all characters that occur in a corpus.
    ///
    /// - Throws: Nothing; a corpus has at least one character.
    public init(_ corpus: Corpus) throws(TokenizerError) {
        try self.init(utf8: corpus.texts)
    }
}
