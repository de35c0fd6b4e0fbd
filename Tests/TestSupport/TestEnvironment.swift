#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Where the tests find what is not code.
package enum TestEnvironment {
    /// The package's folder.
    package static let packageFolder = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

    /// The reference results: the folder that `ATTENTION_CONFORMANCE` names, or else the committed one.
    package static let conformanceFolder =
        variable("ATTENTION_CONFORMANCE") ?? "\(packageFolder)/Tests/Fixtures/conformance"

    /// Where tests put their files: in memory where that can be had, since checkpoints wait for the disk.
    package static let temporaryFolder =
        access("/dev/shm", W_OK) == 0 ? "/dev/shm" : variable("TMPDIR") ?? "/tmp"

    /// Whether the code under test is compiled without optimisation, and so is about twenty times slower.
    package static let isDebugBuild: Bool = {
        #if DEBUG
            true
        #else
            false
        #endif
    }()

    /// Returns an environment variable that is neither absent nor empty.
    package static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// The real model's file, if it is anywhere.
package enum SmolLM2 {
    /// The file that `ATTENTION_SMOLLM2` names, or else the one in the user's cache.
    package static let path =
        TestEnvironment.variable("ATTENTION_SMOLLM2")
        ?? "\(cache)/swift-attention/models/SmolLM2-135M-Instruct.Q4_1.gguf"

    /// Whether the tests of the real model run: where the file is, or where its absence is a failure.
    package static let isTested =
        TestEnvironment.variable("ATTENTION_REQUIRE_MODELS") == "1" || access(path, R_OK) == 0

}

/// The real embedding model's folder, if it is anywhere.
package enum MiniLM {
    /// The folder that `ATTENTION_MINILM` names, or else the one in the user's cache.
    package static let path =
        TestEnvironment.variable("ATTENTION_MINILM") ?? "\(cache)/swift-attention/models/all-MiniLM-L6-v2"

    /// Whether the tests of the real model run: where the folder is, or where its absence is a failure.
    package static let isTested =
        TestEnvironment.variable("ATTENTION_REQUIRE_MODELS") == "1" || access("\(path)/model.safetensors", R_OK) == 0
}

/// The user's cache folder by the XDG rules, which ignore a relative path.
private let cache: String = {
    if let cache = TestEnvironment.variable("XDG_CACHE_HOME"), cache.hasPrefix("/") { return cache }
    return "\(TestEnvironment.variable("HOME") ?? "")/.cache"
}()
