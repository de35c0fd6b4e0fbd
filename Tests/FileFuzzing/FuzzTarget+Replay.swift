import Foundation

extension FuzzTarget {
    /// Reads the inputs that lie in a folder of this target's name, and some that differ from them in one place.
    ///
    /// - Parameters:
    ///   - folder: Where the folders of all targets are.
    ///   - mutationCount: How many inputs to make of each.
    /// - Returns: The names of the inputs.
    /// - Throws: When the folder cannot be read.
    package func replay(in folder: String, mutationCount: Int) throws -> [String] {
        let path = "\(folder)/\(name)"
        let names = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
        for (index, name) in names.enumerated() {
            let bytes = try Array(Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
            bytes.withUnsafeBytes(run)
            var random = FuzzRandom(seed: UInt64(index))
            for _ in 0..<mutationCount { mutate(bytes, &random)?.withUnsafeBytes(run) }
        }
        return names
    }
}
