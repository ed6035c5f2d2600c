package lakehouse;

import io.delta.storage.HadoopFileSystemLogStore;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Delta's log on an S3 store. A version's file is put with {@code If-None-Match: *}, so that of all
 * who commit it, other programs among them, one does. (Delta's own store for S3 trusts that nobody
 * but this process writes, and loses commits where somebody does.)
 */
public class ConditionalLogStore extends HadoopFileSystemLogStore {
  private static final String ONLY_IF_NEW = "fs.option.create.conditional.overwrite";

  public ConditionalLogStore(Configuration settings) {
    super(settings);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration settings)
      throws IOException {
    FileSystem store = path.getFileSystem(settings);
    byte[] content = lines(actions);
    if (overwrite) {
      put(store, path, content, true);
      return;
    }
    try {
      put(store, path, content, false);
    } catch (IOException refusal) {
      settle(store, path, content, refusal);
    }
  }

  /** An object is there as a whole or not at all. */
  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration settings) {
    return false;
  }

  private static byte[] lines(Iterator<String> actions) throws IOException {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    while (actions.hasNext()) {
      text.write(actions.next().getBytes(StandardCharsets.UTF_8));
      text.write('\n');
    }
    return text.toByteArray();
  }

  private static void put(FileSystem store, Path path, byte[] content, boolean overwrite)
      throws IOException {
    var file = store.createFile(path).recursive().overwrite(overwrite);
    if (!overwrite) {
      file.must(ONLY_IF_NEW, true);
    }
    FSDataOutputStream stream = file.build();
    try {
      stream.write(content);
    } catch (IOException | RuntimeException failure) {
      // To close it would put what it has so far.
      stream.abort();
      throw failure;
    }
    stream.close();
  }

  /**
   * What a put that failed means. Its answer may have got lost: the client then asks again, and is
   * refused because of its own object. A commit tells its transaction, so that equal bytes are ours.
   */
  private static void settle(FileSystem store, Path path, byte[] content, IOException failure)
      throws IOException {
    byte[] found;
    try (FSDataInputStream stream = store.open(path)) {
      found = stream.readAllBytes();
    } catch (FileNotFoundException nobody) {
      throw failure;
    } catch (IOException unknown) {
      failure.addSuppressed(unknown);
      throw failure;
    }
    if (Arrays.equals(found, content)) {
      return;
    }
    FileAlreadyExistsException taken = new FileAlreadyExistsException(path.toString());
    taken.initCause(failure);
    throw taken;
  }
}
