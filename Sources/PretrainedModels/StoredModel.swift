internal import Attention
internal import Foundation
internal import ModelFiles

/// A model's files as they lie on the disk, described without computing anything with them.
public struct StoredModel: Sendable {
    /// What a model is for.
    public enum Purpose: String, Sendable, Encodable, CaseIterable {
        /// Predicts the next word: it can be explained and continues texts.
        case language
        /// Turns texts into vectors.
        case embedding
    }

    /// A tensor of its files.
    public struct StoredTensor: Sendable, Encodable {
        /// Its name in the file.
        public let name: String
        /// How its elements are stored, by the file format's name.
        public let type: String
        /// Its shape; GGUF names the fastest dimension first, safetensors last.
        public let shape: [Int]
        /// Its bytes in the file.
        public let byteCount: Int

        /// What its elements can be decoded from; `nil` where they are no weights.
        fileprivate let matrix: WeightMatrix?

        private enum CodingKeys: String, CodingKey {
            case name, type, shape, byteCount
        }
    }

    /// The file or the folder.
    public let path: String
    /// What the model is built like, by the file's own word: `llama`, `bert`, or `transformer (trained here)`.
    public let family: String
    /// What it is for.
    public let purpose: Purpose
    /// Its tensors, in the order of the files.
    public let tensors: [StoredTensor]
    /// The bytes of its files of weights.
    public let byteCount: Int
    /// The licence, if the file names one.
    public let license: String?

    /// Its numbers, all tensors together.
    public var parameterCount: Int { tensors.reduce(0) { $0 + $1.shape.reduce(1, *) } }

    private let weightFiles: [String]

    /// Describes a model by the headers of its files.
    ///
    /// - Parameters:
    ///   - path: A GGUF file, or a folder with `config.json` and weights, as ``ModelLocator/path(of:)`` returns.
    ///   - mapped: Whether the files are mapped, or read.
    /// - Throws: `PretrainedModelError` when a file is damaged or lacks what says what it is.
    public init(path: String, mapped: Bool = true) throws(PretrainedModelError) {
        self.path = path
        if !ModelFolder.isOne(path), !FileManager.default.fileExists(atPath: "\(path)/modules.json") {
            let file: GGUFFile
            do {
                file = try GGUFFile(path: path, mapped: mapped)
                family = try file.metadata.string("general.architecture")
                license = file.metadata.contains("general.license") ? try file.metadata.string("general.license") : nil
            } catch {
                throw .unreadableFile(error)
            }
            purpose = .language
            tensors = file.tensors.map(StoredTensor.init)
            byteCount = file.file.count
            weightFiles = [path]
            return
        }
        let folder = ModelFolder.isOne(path) ? path : try SentenceModules(folder: path).encoderPath
        let configuration = try ConfigurationFile(path: "\(folder)/config.json")
        let checkpoint: SafetensorsCheckpoint
        if ModelDescription.isOne(configuration.json) {
            family = "\(try configuration.string("architecture")) (trained here)"
            purpose = .language
            checkpoint = SafetensorsCheckpoint(try ModelFolder(path: folder).parameters(mapped: mapped).0)
        } else {
            family = try configuration.string("model_type", default: "bert")
            purpose = EncoderModel.families.contains(family) ? .embedding : .language
            do {
                checkpoint = try SafetensorsCheckpoint(folder: folder, mapped: mapped)
            } catch {
                throw .unreadableTensors(error)
            }
        }
        license = nil
        tensors = checkpoint.tensors.map(StoredTensor.init)
        weightFiles = checkpoint.files.map(\.file.path)
        byteCount = checkpoint.files.reduce(0) { $0 + $1.file.count }
    }

    /// Says why the model cannot be used, by loading it as it would be used; `nil` where it can.
    ///
    /// - Parameter mapped: Whether the files are mapped, or read.
    /// - Returns: The error, or `nil`.
    public func problem(mapped: Bool = true) -> PretrainedModelError? {
        do {
            switch purpose {
            case .language: _ = try LanguageModel(path: path, mapped: mapped)
            case .embedding: _ = try TextEmbedder(folder: path, mapped: mapped)
            }
            return nil
        } catch {
            return error
        }
    }

    /// Returns the tensors with a number that is infinite or NaN: every weight is read.
    ///
    /// - Parameter progress: Is called with the share that is done, from 0 to 1.
    /// - Returns: Their names, and how many such numbers each has.
    public func tensorsWithoutNumbers(progress: (Double) -> Void = { _ in }) -> [(name: String, count: Int)] {
        var found: [(name: String, count: Int)] = []
        let total = max(1, tensors.reduce(0) { $0 + $1.byteCount })
        var done = 0
        for tensor in tensors {
            if let matrix = tensor.matrix, matrix.rowCount > 0 {
                // A million numbers at a time.
                let rows = max(1, (1 << 20) / max(1, matrix.columnCount))
                var count = 0
                for start in stride(from: 0, to: matrix.rowCount, by: rows) {
                    let numbers = matrix.rows(Array(start..<min(start + rows, matrix.rowCount))).floats
                    count += numbers.reduce(0) { $1.isFinite ? $0 : $0 + 1 }
                }
                if count > 0 { found.append((tensor.name, count)) }
            }
            done += tensor.byteCount
            progress(Double(done) / Double(total))
        }
        return found
    }

    /// The hash that a file of weights should have, where Hugging Face's cache says so.
    ///
    /// There files are links to blobs whose names are their hashes: SHA-256 of large ones, and git's SHA-1 of others.
    public var expectedHashes: [(path: String, hash: ContentHash)] {
        weightFiles.compactMap { path in
            guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path) else { return nil }
            let parts = target.split(separator: "/")
            guard parts.count > 1, parts[parts.count - 2] == "blobs",
                let hash = ContentHash(String(parts[parts.count - 1]))
            else { return nil }
            return (path, hash)
        }
    }
}

/// A hash of a file's content, as git and Hugging Face's hub name it.
public enum ContentHash: Sendable, Hashable, CustomStringConvertible {
    /// SHA-256 of the bytes, in 64 hexadecimal digits.
    case sha256(String)
    /// SHA-1 of git's header of a blob and the bytes, in 40 hexadecimal digits.
    case gitSHA1(String)

    init?(_ text: String) {
        guard text.utf8.allSatisfy({ 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 }) else { return nil }
        switch text.utf8.count {
        case 64: self = .sha256(text)
        case 40: self = .gitSHA1(text)
        default: return nil
        }
    }

    /// The digits.
    public var description: String {
        switch self {
        case .sha256(let digits), .gitSHA1(let digits): digits
        }
    }
}

extension StoredModel.StoredTensor {
    fileprivate init(_ tensor: GGUFFile.Tensor) {
        self.init(
            name: tensor.name, type: "\(tensor.type)", shape: tensor.dimensions, data: tensor.data,
            columnCount: tensor.dimensions.first ?? 1, format: tensor.type.weightFormat)
    }

    fileprivate init(_ tensor: SafetensorsFile.Tensor) {
        self.init(
            name: tensor.name, type: tensor.elementType.rawValue, shape: tensor.shape, data: tensor.data,
            columnCount: tensor.shape.last ?? 1, format: tensor.elementType.weightFormat)
    }

    private init(
        name: String, type: String, shape: [Int], data: MappedFile.Slice, columnCount: Int,
        format: WeightMatrix.Format?
    ) {
        self.name = name
        self.type = type
        self.shape = shape
        byteCount = data.count
        matrix = format.map { format in
            WeightMatrix(
                sharing: data.unsafeBytes, owner: data.file,
                rowCount: columnCount == 0 ? 0 : shape.reduce(1, *) / columnCount, columnCount: columnCount,
                format: format)
        }
    }
}

extension ModelLocator {
    /// Returns every model in both caches, the broken ones too: what to call it, and where it is.
    ///
    /// - Returns: By name, this package's own first.
    public func models() -> [(name: String, path: String)] {
        let own = ((try? FileManager.default.contentsOfDirectory(atPath: modelsFolder)) ?? []).sorted()
        var found: [(name: String, path: String)] = own.compactMap { name in
            let path = "\(modelsFolder)/\(name)"
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder),
                isFolder.boolValue || name.hasSuffix(".gguf")
            else { return nil }
            return (name, path)
        }
        for repository in huggingFace.repositories {
            let names = ((try? FileManager.default.contentsOfDirectory(atPath: repository.path)) ?? []).sorted()
            let files = names.filter { $0.hasSuffix(".gguf") }
            if names.contains("config.json") || files.isEmpty { found.append((repository.name, repository.path)) }
            found += files.map { ("\(repository.name):\($0)", "\(repository.path)/\($0)") }
        }
        return found
    }
}
