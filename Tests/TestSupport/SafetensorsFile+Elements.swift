internal import Foundation
internal import ModelFiles

extension SafetensorsFile {
    /// The numbers of a tensor that has to be there, as their bytes say.
    func elements<Element>(of tensorName: String, as type: Element.Type) throws -> [Element] {
        try requireTensor(named: tensorName).data.withUnsafeBytes { bytes in
            (0..<bytes.count / MemoryLayout<Element>.size).map {
                bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.size, as: type)
            }
        }
    }

    /// 64-bit IDs of tokens.
    func tokens(of tensorName: String) throws -> [Int32] {
        try elements(of: tensorName, as: Int64.self).map { Int32($0) }
    }

    /// What the metadata say under a key that has to be there.
    func requireMetadata(_ key: String) throws -> String {
        guard let value = metadataValue(key) else { throw MissingReference(what: "'\(key)' in '\(file.path)'") }
        return value
    }
}

/// Returns the files of reference results in a folder, in the order of their names, at least one.
func referenceFiles(in folder: String) throws -> [(path: String, name: String)] {
    let folder = "\(TestEnvironment.conformanceFolder)/\(folder)"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        .filter { $0.hasSuffix(".safetensors") }.sorted()
    guard !names.isEmpty else { throw MissingReference(what: "file of reference results in '\(folder)'") }
    return names.map { ("\(folder)/\($0)", $0) }
}

/// A reference result that is not where it should be.
struct MissingReference: Error, CustomStringConvertible {
    let what: String
    var description: String { "There is no \(what)." }
}
